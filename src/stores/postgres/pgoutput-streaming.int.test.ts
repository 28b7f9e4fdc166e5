import { readFile, writeFile } from 'node:fs/promises'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { type Cdc, openCdc } from '../../../test/support/cdc.ts'
import { openRawStream } from '../../../test/support/raw-stream.ts'
import { readRecorded, recordOf, STREAMING } from '../../../test/support/recorded.ts'

// Protocol 4 with everything that it has: open transactions that are streamed, parts of them rolled back, two-phase.

const SCHEMA = `
  create type mood as enum ('good', 'bad');
  create table s (id int primary key, body text, m mood, n numeric);
  create table big (id int primary key, body text);
  alter table big alter body set storage external;
  create publication p for table s, big`

const OPTIONS = {
  ...{ proto_version: '4', publication_names: 'p', binary: 'true', messages: 'true' },
  ...{ streaming: 'parallel', two_phase: 'on' },
}

/** Rows enough for logical_decoding_work_mem to be exceeded, small on the wire. */
const rows = (from: number): string =>
  `insert into s select i, 'row ' || i, 'good', i / 4.0 from generate_series(${from}, ${from} + 279) i`

/** RECORD=1 writes the file anew. */
test('a server of today sends what the decoder is fuzzed with: streamed and prepared transactions', async () => {
  await using cdc = await openCdc({
    name: 'streaming',
    settings: { logical_decoding_work_mem: '64kB', max_prepared_transactions: 10 },
  })
  await cdc.source.query(SCHEMA)
  await cdc.source.query(`select pg_create_logical_replication_slot('streaming', 'pgoutput', false, true)`)
  await using stream = await openRawStream(cdc, 'streaming', OPTIONS)
  await makeHistory(cdc, () => stream.passed())
  const recorded = stream.messages.filter((bytes) => bytes.length > 0)
  if (process.env['RECORD'] === '1') await writeFile(STREAMING, recordOf(recorded))
  expect(shapeOf(recorded)).toBe(shapeOf(await readRecorded(STREAMING)))
  // every kind of message that the protocol has for them
  expect([...'SEcAbPKrp'].filter((kind) => !shapeOf(recorded).includes(kind))).toEqual([])
  expect((await readFile(STREAMING)).length).toBeLessThan(300 * 1024)
})

/** `passed` = what is open has been sent: only then can its end be told apart from it. */
async function makeHistory(cdc: Cdc, passed: () => Promise<void>): Promise<void> {
  const [one, two] = [await cdc.client(cdc.sourceUrl), await cdc.client(cdc.sourceUrl)]
  await one.query(`insert into s values (1, 'plain', 'bad', 'NaN')`)

  // a part is rolled back after it was sent, and a part in it before
  await one.query(`begin; ${rows(1_000)}; savepoint a; ${rows(2_000)}; savepoint b; ${rows(3_000)}; rollback to b`)
  await passed()
  await one.query(`rollback to a; update s set body = null where id < 1010; commit`)

  // all of it is rolled back
  await one.query(`begin; ${rows(5_000)}; ${rows(6_000)}`)
  await passed()
  await one.query(`rollback`)

  // two at once, which commit the other way round, with everything that a transaction may have
  await one.query(`begin; ${rows(10_000)}; select pg_logical_emit_message(true, 'migrate.token', 'users 1 x')`)
  await two.query(`begin; ${rows(20_000)}; delete from s where id < 1300; ${rows(1_000_000)}`)
  await one.query(`insert into big select i, repeat('b', 3000) from generate_series(1, 12) i; update big set id = id + 100;
    ${rows(30_000)}`)
  await passed()
  await two.query(`commit`)
  await one.query(`commit`)
  await one.query(`truncate big`)

  await prepare(one, 'small', `insert into s values (2, 'prepared', 'good', 1)`)
  await one.query(`commit prepared 'small'`)
  await prepare(one, 'small, not to be', `insert into s values (3, 'given up', 'good', 1)`)
  await passed()
  await one.query(`rollback prepared 'small, not to be'`)
  await prepare(one, 'streamed', `${rows(40_000)}; savepoint a; ${rows(50_000)}; rollback to a; ${rows(60_000)}`)
  await passed()
  await one.query(`commit prepared 'streamed'`)
  await prepare(one, 'streamed, not to be', `${rows(70_000)}; ${rows(80_000)}`)
  await passed()
  await one.query(`rollback prepared 'streamed, not to be'`)
  await one.query(`insert into s values (4, 'the end', 'bad', 0)`)
  await passed()
}

async function prepare(client: pg.Client, gid: string, work: string): Promise<void> {
  await client.query(`begin; ${work}; prepare transaction '${gid}'`)
}

/** The kinds of messages, repetitions left out: how much a stream carries at once is the server's own affair. */
function shapeOf(messages: readonly Buffer[]): string {
  const kinds = messages.map((bytes) => String.fromCharCode(bytes[0] ?? 0)).join('')
  return kinds.replaceAll(/(.)\1+/g, '$1').replaceAll(/(SIE)+/g, 'SIE')
}
