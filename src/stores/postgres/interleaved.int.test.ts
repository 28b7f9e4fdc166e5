import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cdc, catchUp, openCdc, PIPELINE, publishTables, SLOT, startPipeline } from '../../../test/support/cdc.ts'
import { commitInterleaved } from '../../../test/support/interleaved.ts'
import { readCheckpoint } from './checkpoint.ts'
import { readSlot } from './slot.ts'

// research/cdc.md, section 5 #1: a stop between two interleaved commits has lost the second one. `npm run soak --
// sync-interleaved` does it a thousand times; test/e2e/sync-kills.e2e.test.ts with kill -9.

const PAIRS = Number(process.env['MIGRATE_INTERLEAVED'] ?? 60)

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'interleaved' })
})
afterAll(() => cdc[Symbol.asyncDispose]())

test(`stopped between two interleaved commits, ${PAIRS} times: nothing lost, nothing doubled`, {
  timeout: 600_000,
}, async () => {
  await cdc.both(`create table t (n int primary key, body text)`)
  // an upsert would hide a row that comes twice
  await cdc.target.query(`create table arrived (n int);
    create function arrive() returns trigger language plpgsql as $$ begin insert into arrived values (new.n); return null; end $$;
    create trigger arrive after insert or update on t for each row execute function arrive();
    alter table t enable always trigger arrive`)
  await publishTables(cdc, ['t'])
  await cdc.source.query(`select pg_create_logical_replication_slot('onlooker', 'pgoutput')`)
  await commitInterleaved([await cdc.client(cdc.sourceUrl), await cdc.client(cdc.sourceUrl)], {
    ...{ table: 't', service: 'users', pairs: PAIRS },
  })
  expect(await adjacentCommits()).toBeGreaterThan(PAIRS * 0.8)

  let stops = 0
  for (let applied = 0; applied < 2 * PAIRS; applied = await rowsThere()) {
    const before = applied
    // dies with the commit behind it and the acknowledgement before it, or ends in order
    await (stops % 2 === 0 ? dieAtCommit() : stopAtCommit())
    const now = await rowsThere()
    expect(now - before, `row ${before}`).toBe(1)
    if (now % 2 === 1) stops += 1
    expect((await readSlot(cdc.sourceDb, SLOT))?.confirmed).toBeLessThanOrEqual(await checkpoint())
  }
  expect(stops).toBe(PAIRS)
  await catchUp(cdc, ['t'])
  const { rows } = await cdc.target.query(`select n from arrived order by n`)
  expect(rows.map(({ n }) => n as number)).toEqual(Array.from({ length: 2 * PAIRS }, (_, n) => n))
  expect((await cdc.target.query(`select count(*)::int as n from t`)).rows[0].n).toBe(2 * PAIRS)
})

async function dieAtCommit(): Promise<void> {
  const dead = new Error('dead')
  const { ended } = await startPipeline(cdc, ['t'], {
    failpoint: (name) => (name === 'sync.forward.before-ack' ? Promise.reject(dead) : Promise.resolve()),
  })
  await expect(ended).rejects.toBe(dead)
}

async function stopAtCommit(): Promise<void> {
  const stop = new AbortController()
  const { ended } = await startPipeline(cdc, ['t'], {
    signal: stop.signal,
    failpoint(name) {
      if (name === 'sync.forward.before-ack') stop.abort()
      return Promise.resolve()
    },
  })
  expect(await ended).toBe('aborted')
}

async function rowsThere(): Promise<number> {
  return (await cdc.target.query(`select count(*)::int as n from t`)).rows[0].n as number
}

async function checkpoint(): Promise<bigint> {
  return (await readCheckpoint(cdc.targetDb, PIPELINE))?.commitLsn ?? 0n
}

/** How many commit records start where another one ends: without them there is no trap. */
async function adjacentCommits(): Promise<number> {
  // flushes the commits before it
  await cdc.source.query(`select pg_logical_emit_message(true, 'test', 'flush')`)
  const { rows } = await cdc.source.query<{ data: Buffer }>(
    `select data from pg_logical_slot_get_binary_changes('onlooker', null, null, 'proto_version', '1', 'publication_names', 'p')`,
  )
  await cdc.source.query(`select pg_drop_replication_slot('onlooker')`)
  const messages = rows.map(({ data }) => data)
  // Begin has the position of its commit record, Commit the end of it
  const starts = new Set(messages.filter((data) => data[0] === 0x42).map((data) => data.readBigUInt64BE(1)))
  const ends = messages.filter((data) => data[0] === 0x43).map((data) => data.readBigUInt64BE(10))
  return ends.filter((end) => starts.has(end)).length
}
