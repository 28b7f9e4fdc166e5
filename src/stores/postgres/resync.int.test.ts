// Rows written anew beside a running pipeline.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Cdc,
  openCdc,
  PIPELINE,
  publishTables,
  rowsOf,
  type RunningPipeline,
  startPipeline,
  tableInfos,
} from '../../../test/support/cdc.ts'
import type { RowKey } from './compare.ts'
import { forgetNotedKeys, notedKeys, noteTime } from './noted-keys.ts'
import { emitFence, fencePassed } from './pass-fence.ts'
import { changePipeline } from './pipeline-control.ts'
import { resync } from './resync.ts'

const TABLES = ['r', 's']
let cdc: Cdc
let stop: AbortController
let running: RunningPipeline
let keeps = false

beforeAll(async () => {
  cdc = await openCdc({ name: 'resync' })
})
afterAll(() => cdc[Symbol.asyncDispose]())
beforeEach(async () => {
  await cdc.both(`drop table if exists r, s; drop type if exists kind;
    create type kind as enum ('NEW', 'OLD');
    create table r (id bigint generated always as identity primary key, email text unique, n numeric, f float8, b bytea,
      doc json, data jsonb, tags text[], k kind, at timestamptz, twice bigint generated always as (id * 2) stored);
    create table s (user_id bigint, key text, value interval, primary key (user_id, key))`)
  await cdc.both(`insert into r (email, n, f, b, doc, data, tags, k, at) select 'e' || i, 1.500, 1e-300 / 3, '\\x00ff',
      '{"a":1, "a" : 2}', '{"n": 1.0}', array['a,b', null, '"'], 'OLD', '2026-01-01 00:00:00.123456+00'
    from generate_series(1, 6) i;
    insert into s select i, k, interval '1 mon 3 days' from generate_series(1, 3) i, unnest(array['A', 'b']) k`)
  await publishTables(cdc, TABLES)
  await changePipeline(cdc.targetDb, PIPELINE, 1, { hold: true, graceMs: 100 })
  await start()
  return stopped
})

async function start(): Promise<void> {
  stop = new AbortController()
  const control = { keepsKeys: () => Promise.resolve(keeps) }
  running = await startPipeline(cdc, TABLES, { signal: stop.signal, control })
}

async function stopped(): Promise<void> {
  stop.abort()
  await running.ended
}

async function caughtUp(): Promise<void> {
  const fence = await emitFence(cdc.sourceDb, 'users')
  while ((await fencePassed(cdc.targetDb, PIPELINE, fence)) === 'waiting') {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function again(keys: readonly RowKey[], after: () => Promise<void> = () => Promise.resolve()): Promise<number> {
  const [monolith, service] = await Promise.all([tableInfos(cdc.sourceDb, TABLES), tableInfos(cdc.targetDb, TABLES)])
  return resync(
    {
      ...{ service: 'users', pipeline: PIPELINE, monolith: cdc.sourceDb, url: cdc.targetUrl },
      tables: { monolith, service },
      async caughtUp() {
        await caughtUp()
        await after()
      },
    },
    keys,
  )
}

const row = (...key: string[]): RowKey => ({ table: key.length === 1 ? 'public.r' : 'public.s', key })

async function expectEqual(): Promise<void> {
  for (const table of TABLES) expect(await rowsOf(cdc.target, table)).toEqual(await rowsOf(cdc.source, table))
}

async function spoil(): Promise<void> {
  await cdc.target.query(`update r set n = 1.5, doc = '{"a":2}', b = null where id = 1;
    delete from r where id in (2, 3); update r set email = 'e3' where id = 4;
    insert into r overriding system value values (77, 'e2'); update r set k = 'NEW' where id = 5;
    delete from s where user_id = 1; insert into s values (9, 'A', '1 s')`)
}

test('rows that differ, are missing or are extra become the monolith’s to the last digit', async () => {
  await spoil()
  const keys = [...['1', '2', '3', '4', '5', '77'].map((id) => row(id)), row('1', 'A'), row('1', 'b'), row('9', 'A')]
  expect(await again(keys)).toBe(9)
  await expectEqual()
})

test('a row that is in the way of a unique value goes, named or not', async () => {
  await spoil()
  await again(['2', '3'].map((id) => row(id)))
  const { rows } = await cdc.target.query(`select id::int, email from r where email in ('e2', 'e3') order by id`)
  expect(rows).toEqual([
    { id: 2, email: 'e2' },
    { id: 3, email: 'e3' },
  ])
})

test('a key in its binary form, as the stream has it', async () => {
  await spoil()
  const id = Buffer.alloc(8)
  id.writeBigInt64BE(1n)
  await again([{ table: 'public.r', key: [id] }])
  expect((await cdc.target.query(`select n::text from r where id = 1`)).rows).toEqual([{ n: '1.500' }])
})

describe('beside changes of the monolith', () => {
  test('a row that has changed since is left to the sync, until it rests', async () => {
    await spoil()
    const seen: unknown[] = []
    await again([row('1')], async () => {
      seen.push((await cdc.target.query(`select n::text from r where id = 1`)).rows[0].n)
      if (seen.length > 1) return
      await stopped()
      await cdc.source.query(`update r set n = 7 where id = 1`)
      // the first look at the monolith after this finds a version that was not applied
      await start()
    })
    // it was not written before the sync had carried the change
    expect(seen).toEqual(['1.5', '7'])
    await expectRow1()
  })

  test('rows that change all the time and are written anew all the time end equal', async () => {
    let writing = true
    const writer = (async () => {
      for (let n = 0; writing; n++) {
        await cdc.source.query(`update r set n = $1 where id = 1 + $1::int % 3`, [n])
        if (n % 5 === 0) await cdc.source.query(`delete from s where user_id = 2`)
        if (n % 5 === 2) await cdc.source.query(`insert into s values (2, 'A', '1 s') on conflict do nothing`)
      }
    })()
    const keys = [row('1'), row('2'), row('3'), row('2', 'A'), row('2', 'b')]
    for (let round = 0; round < 3; round++) {
      await cdc.target.query(`update r set f = ${round} where id = 5`)
      await again([...keys, row('5')])
    }
    writing = false
    await writer
    await caughtUp()
    await expectEqual()
  })

  async function expectRow1(): Promise<void> {
    const [left, right] = await Promise.all(
      [cdc.source, cdc.target].map((side) => side.query(`select r::text as row from r where id = 1`)),
    )
    expect(right?.rows).toEqual(left?.rows)
  }
})

test('nothing is written where the pipeline does not apply', async () => {
  await spoil()
  await cdc.target.query(`update migrate.checkpoint set state = 'discard'`)
  const before = await rowsOf(cdc.target, 'r')
  await expect(again([row('1')])).rejects.toMatchObject({ code: 'RESYNC_REFUSED' })
  expect(await rowsOf(cdc.target, 'r')).toEqual(before)
})

test('the keys of everything that is written are noted while that is asked for, and forgotten by their age', async () => {
  await cdc.source.query(`update r set n = 2 where id = 2`)
  await caughtUp()
  expect(await notedKeys(cdc.targetDb, PIPELINE)).toEqual([])
  keeps = true
  await cdc.source.query(`update r set n = 3 where id in (2, 3); delete from s where user_id = 1 and key = 'A'`)
  await cdc.source.query(`update r set n = 4 where id = 2`)
  await caughtUp()
  keeps = false
  const [keys, at] = [await notedKeys(cdc.targetDb, PIPELINE), await noteTime(cdc.targetDb)]
  expect(keys.map(({ table }) => table)).toEqual(['public.r', 'public.r', 'public.s'])
  await spoil()
  await again(keys)
  expect((await cdc.target.query(`select id::int from r where id in (2, 3) order by 1`)).rows).toHaveLength(2)
  await forgetNotedKeys(cdc.targetDb, PIPELINE, { at, seconds: 60 })
  expect(await notedKeys(cdc.targetDb, PIPELINE)).toHaveLength(3)
  await forgetNotedKeys(cdc.targetDb, PIPELINE, { at, seconds: 0 })
  expect(await notedKeys(cdc.targetDb, PIPELINE)).toEqual([])
})
