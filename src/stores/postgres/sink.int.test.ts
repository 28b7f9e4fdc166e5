import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Cdc,
  catchUp,
  endOfLog,
  openCdc,
  openTestSink,
  PIPELINE,
  publishTables,
  rowsOf,
  startPipeline,
} from '../../../test/support/cdc.ts'
import { int4, int8, insert, relationOf, text, transaction } from '../../../test/support/changes.ts'
import { asLsn } from '../../model/lsn.ts'
import type { PipelineReport, SinkBatch, SinkResult } from '../../sync/ports.ts'
import { changePipeline, sealPipeline, takeTouched } from './pipeline-control.ts'
import { readCheckpoint } from './checkpoint.ts'

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'sink' })
})
afterAll(() => cdc[Symbol.asyncDispose]())

/** Makes the tables on both sides, runs the statements on the source, applies them, compares. */
async function applied(
  schema: string,
  tables: readonly string[],
  ...statements: readonly string[]
): Promise<Record<string, string[]>> {
  await makeTables(schema, tables)
  for (const sql of statements) await cdc.source.query(sql)
  await catchUp(cdc, tables)
  return expectEqual(tables)
}

async function makeTables(schema: string, tables: readonly string[]): Promise<void> {
  await cdc.both(`drop table if exists ${tables.join(', ')} cascade; ${schema}`)
  await publishTables(cdc, tables)
}

async function expectEqual(tables: readonly string[]): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {}
  for (const table of tables) {
    found[table] = await rowsOf(cdc.target, table)
    expect(found[table]).toEqual(await rowsOf(cdc.source, table))
  }
  return found
}

describe('rows arrive as they are', () => {
  test('of every type', async () => {
    const { everything } = await applied(
      `drop type if exists mood; create type mood as enum ('good', 'so-so', 'bad');
       create table everything (id bigint generated always as identity primary key, i int, s smallint, big bigint, r real,
         d double precision, n numeric, p numeric(12, 2), b boolean, t text, v varchar(20), c char(5), tags text[],
         grid int[][], m mood, j json, jb jsonb, raw bytea, u uuid, day date, clock time, tz timetz, at timestamptz,
         local timestamp, span interval, addr inet, net cidr, mac macaddr, bits varbit, r4 int4range, point point,
         q tsvector, x xml, l pg_lsn, cash money, twice bigint generated always as (id * 2) stored)`,
      ['everything'],
      `insert into everything (i, s, big, r, d, n, p, b, t, v, c, tags, grid, m, j, jb, raw, u, day, clock, tz, at, local, span,
         addr, net, mac, bits, r4, point, q, x, l, cash)
       values (-1, 32767, -9223372036854775808, 'NaN', '-infinity', 'NaN', 1234567890.12, true, E'Grün 山田 \\n "x"', '', 'ab',
         '{x,"y, z",null,""}', '{{1,2},{3,null}}', 'so-so', '{"b":1,  "b":2}', '{"a": [1.50, 12345678901234567890.123]}',
         '\\x00ff5c', 'a81bc81b-dead-4e5d-abff-90865d1e13b1', '0044-03-15 BC', '23:59:59.999999', '12:00+05:30', 'infinity',
         '-infinity', '1 year -2 days 03:04:05.000006', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', B'10110', '[1,)',
         '(1.5,-2)', 'fat & cat', '<a>1</a>', '16/B374D848', '12.34')`,
      `insert into everything (n, d, r, p, at, jb) values ('infinity', '-0', 1e-40, 0.10, '2026-01-01 00:00:00.000001+02', 'null'),
         (1.500000000000000000000000000001, 5e-324, '-infinity', null, '4713-01-01 00:00:00+00 BC', '"x"')`,
      `insert into everything default values`,
      `update everything set m = 'bad', tags = '{}', n = -0.00, at = '-infinity' where id = 1`,
    )
    expect(everything).toHaveLength(4)
    expect(everything?.join('\n')).toMatch(/infinity[^]*NaN|NaN[^]*infinity/)
  })

  test('with an unchanged TOAST value, also under replica identity full', async () => {
    const schema = (table: string): string =>
      `create table ${table} (id int primary key, n int, bio text, doc jsonb); alter table ${table} alter bio set storage external;`
    const found = await applied(
      `${schema('small')} ${schema('whole')} alter table whole replica identity full`,
      ['small', 'whole'],
      ...['small', 'whole'].flatMap((table) => [
        `insert into ${table} select i, 0, repeat(chr(97 + i), 9000), '{}' from generate_series(1, 3) i`,
        `update ${table} set n = 1`,
        `update ${table} set bio = null where id = 2`,
        `update ${table} set n = 2, doc = '[]' where id = 3`,
      ]),
    )
    expect(found['small']?.map((row) => row.length > 9_000)).toEqual([true, false, true])
  })

  test('deleted and truncated, with sequences started anew', async () => {
    const found = await applied(
      `create table parent (id serial primary key); create table child (p int references parent, k text, primary key (p, k))`,
      ['parent', 'child'],
      `insert into parent select from generate_series(1, 5)`,
      `insert into child select i, 'x' from generate_series(1, 5) i`,
      `delete from child where p = 2`,
      `truncate parent, child restart identity`,
      `insert into parent values (1), (7)`,
      `insert into child values (7, 'y')`,
    )
    expect(found).toEqual({ parent: ['(1)', '(7)'], child: ['(7,y)'] })
    expect((await cdc.target.query(`select nextval('parent_id_seq')::int as next`)).rows[0].next).toBe(1)
  })

  test('under another order of columns, with more columns, and without firing triggers of the target', async () => {
    await cdc.both(`drop table if exists o cascade`)
    await cdc.source.query(`create table o (id int primary key, a text, b int)`)
    await cdc.target.query(`create table o (b int, own text default 'kept', id int primary key, a text)`)
    await cdc.target.query(`create or replace function shout() returns trigger language plpgsql as $$
      begin new.a := upper(new.a); return new; end $$`)
    await cdc.target.query(`create trigger shout before insert or update on o for each row execute function shout()`)
    await publishTables(cdc, ['o'])
    await cdc.source.query(`insert into o values (1, 'x', 2); update o set a = 'y'`)
    await catchUp(cdc, ['o'])
    expect(await rowsOf(cdc.target, 'o')).toEqual(['(2,kept,1,y)'])
  })
})

describe('keys that change', () => {
  test('keep the rest of the row', async () => {
    const found = await applied(
      `create table k (a int, b text, n int, bio text, primary key (a, b)); alter table k alter bio set storage external`,
      ['k'],
      `insert into k values (1, 'x', 0, repeat('b', 9000)), (2, 'x', 0, null)`,
      `update k set a = a + 10, n = 1`,
      `update k set b = 'y' where a = 11`,
    )
    expect(found['k']?.map((row) => row.slice(0, 7))).toEqual(['(11,y,1', '(12,x,1'])
  })

  test('of a "generated always" identity: the row is made anew, with its unchanged TOAST value', async () => {
    const found = await applied(
      `create table always (id bigint generated always as identity primary key, email text unique, bio text);
       alter table always alter bio set storage external`,
      ['always'],
      `insert into always (email, bio) values ('a', repeat('b', 9000)), ('c', 'short')`,
      `update always set id = default`,
      `update always set email = 'd', id = default where email = 'c'`,
      `update always set email = 'e' where email = 'd'`,
    )
    expect(found['always']?.map((row) => [row.slice(0, 5), row.length > 9_000])).toEqual([
      ['(3,a,', true],
      ['(5,e,', false],
    ])
  })

  test('and "generated always" columns beside the key, and tables of nothing else', async () => {
    const found = await applied(
      `create table beside (k int primary key, n bigint generated always as identity, v text);
       create table alone (id bigint generated always as identity primary key)`,
      ['beside', 'alone'],
      `insert into beside (k, v) values (1, 'a'), (2, 'b')`,
      `update beside set n = default where k = 1`,
      `update beside set v = 'c' where k = 2`,
      `insert into alone default values`,
      `insert into alone default values`,
      `update alone set id = default where id = 1`,
    )
    expect(found).toEqual({ beside: ['(1,3,a)', '(2,2,c)'], alone: ['(2)', '(3)'] })
  })
})

describe('somebody else has written to the copy', () => {
  const schema = `create table m (id int primary key, n int)`

  test.each([
    ['an update', 'update m set n = 2', 'delete from m'],
    ['a delete', 'delete from m', 'delete from m'],
    ['a change of the key', 'update m set id = 2 where id = 1', 'delete from m'],
  ])('%s without its row stops it; nothing of the batch is applied', async (_, there, here) => {
    await applied(schema, ['m'], `insert into m values (1, 1)`)
    await cdc.target.query(here)
    await cdc.source.query(`begin; insert into m values (9, 9); ${there}; commit`)
    const before = await readCheckpoint(cdc.targetDb, PIPELINE)
    await expect(catchUp(cdc, ['m'])).rejects.toMatchObject({
      code: 'ROW_MISSING',
      context: { table: 'public.m', role: 'users' },
    })
    expect(await rowsOf(cdc.target, 'm')).toEqual([])
    expect((await readCheckpoint(cdc.targetDb, PIPELINE))?.commitLsn).toBe(before?.commitLsn)
  })

  test('a row that is in the way stops it too', async () => {
    await makeTables(schema, ['m'])
    await cdc.target.query(`insert into m values (1, 5)`)
    await cdc.source.query(`insert into m values (1, 1)`)
    await expect(catchUp(cdc, ['m'])).rejects.toMatchObject({
      code: 'DATABASE_STATEMENT',
      context: { sqlstate: '23505' },
    })
    expect(await rowsOf(cdc.target, 'm')).toEqual(['(1,5)'])
  })

  test('a column that the target lacks is named', async () => {
    await makeTables(schema, ['m'])
    await cdc.source.query(`alter table m add column extra int`)
    await cdc.source.query(`insert into m values (1, 1, 1)`)
    await expect(catchUp(cdc, ['m'])).rejects.toMatchObject({
      code: 'TARGET_SCHEMA',
      context: { table: 'public.m', service: 'users', difference: 'column extra is missing' },
    })
  })
})

describe('what a crash leaves', () => {
  test('a worker that dies between commit and acknowledgement: the next one neither repeats nor skips', async () => {
    await makeTables(`create table c (id int primary key, n int)`, ['c'])
    await cdc.source.query(`insert into c select i, 0 from generate_series(1, 5) i`)
    for (let round = 0; round < 6; round++) {
      await cdc.source.query(`update c set n = n + 1`)
      await cdc.source.query(`insert into c values (${100 + round}, 0)`)
      const dies = catchUp(cdc, ['c'], { failpoint: () => Promise.reject(new Error('died here')) })
      await expect(dies).rejects.toMatchObject({ message: expect.stringContaining('died here') })
    }
    await catchUp(cdc, ['c'])
    await expectEqual(['c'])
  })

  test('a write that fails is not acknowledged, and comes again', async () => {
    await makeTables(`create table c (id int primary key, n int)`, ['c'])
    await cdc.source.query(`insert into c values (1, 1)`)
    const failing = catchUp(cdc, ['c'], {
      sink: (sink) =>
        Object.assign(Object.create(sink) as typeof sink, {
          write: () => Promise.reject(new Error('full')),
          checkpoint: () => sink.checkpoint(),
          onChange: () => undefined,
        }),
    })
    await expect(failing).rejects.toThrow('full')
    await catchUp(cdc, ['c'])
    await expectEqual(['c'])
  })
})

describe('the checkpoint is compared and set', () => {
  const users = relationOf(1, 'cas', ['id:int8*', 'name:text', 'points:int4'])
  const batch = (from: SinkBatch['from'], id: number, more: Partial<SinkBatch> = {}): SinkBatch => ({
    from,
    to: asLsn(from.commitLsn + BigInt(id)),
    work: {
      kind: 'exact',
      revoke: [],
      transactions: [transaction(1, [insert(users, [int8(id), text('x'), int4(1)])])],
    },
    touched: [],
    token: null,
    start: null,
    ...more,
  })
  const ready = async () => {
    await makeTables(`create table cas (id bigint primary key, name text, points int)`, ['cas'])
    return openTestSink(cdc, ['cas'])
  }

  test('a worker of an older epoch writes nothing', async () => {
    const { sink: first, claim: old } = await ready()
    const { sink: second, claim } = await openTestSink(cdc, ['cas'])
    // the claim has ended the older session; a new one of it, as after a reconnect, is refused by its epoch
    await expect(first.write(batch(old, 1))).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    expect(await second.write(batch(old, 1))).toEqual({ kind: 'changed' })
    expect(await rowsOf(cdc.target, 'cas')).toEqual([])
    expect(await second.write(batch(claim, 2))).toMatchObject({ kind: 'written', rows: 1 })
    // and nobody writes twice from the same position
    expect(await second.write(batch(claim, 3))).toEqual({ kind: 'changed' })
    expect(await rowsOf(cdc.target, 'cas')).toEqual(['(2,x,1)'])
    await Promise.all([first, second].map((sink) => sink[Symbol.asyncDispose]()))
  })

  test.each([
    ['hold', { hold: true }],
    ['grace', { graceMs: 5 }],
    ['tracking', { tracking: 7 }],
    ['state', { state: 'discard' }],
  ] as const)('a run has changed %s: nothing is written, the listener is told', async (_, change) => {
    const { sink, claim } = await ready()
    const told = new Promise<void>((resolve) => sink.onChange(resolve))
    await sink.write(batch(claim, 1))
    const now = { ...claim, commitLsn: asLsn(claim.commitLsn + 1n) }
    await changeUntil(told, change)
    expect(await sink.write(batch(now, 2))).toEqual({ kind: 'changed' })
    expect(await rowsOf(cdc.target, 'cas')).toEqual(['(1,x,1)'])
    expect(await sink.write(batch({ ...now, ...change }, 2))).toMatchObject({ kind: 'written' })
    await sink[Symbol.asyncDispose]()
  })

  /** LISTEN may come after the first change. */
  async function changeUntil(told: Promise<void>, change: Parameters<typeof changePipeline>[3]): Promise<void> {
    let waiting = true
    void told.then(() => (waiting = false))
    while (waiting) expect(await changePipeline(cdc.targetDb, PIPELINE, 1, change)).toBe(true)
  }

  test('an older run changes nothing', async () => {
    const { sink } = await ready()
    expect(await changePipeline(cdc.targetDb, PIPELINE, 5, { hold: true })).toBe(true)
    expect(await changePipeline(cdc.targetDb, PIPELINE, 4, { hold: false })).toBe(false)
    expect(await sealPipeline(cdc.targetDb, PIPELINE, 4, { service: 'users', direction: 'reverse', epoch: 2 })).toBe(
      false,
    )
    expect(await readCheckpoint(cdc.targetDb, PIPELINE)).toMatchObject({ hold: true, state: 'apply' })
    await sink[Symbol.asyncDispose]()
  })

  test('a sealed pipeline writes nothing, and its worker ends by itself', async () => {
    await makeTables(`create table cas (id bigint primary key, name text, points int)`, ['cas'])
    const { ended } = await startPipeline(cdc, ['cas'])
    await sealPipeline(cdc.targetDb, PIPELINE, 1, { service: 'users', direction: 'reverse', epoch: 2 })
    await cdc.source.query(`insert into cas values (1, 'x', 1)`)
    expect(await ended).toBe('sealed')
    expect(await rowsOf(cdc.target, 'cas')).toEqual([])
  })

  test('a newer worker ends the older one', async () => {
    await makeTables(`create table cas (id bigint primary key, name text, points int)`, ['cas'])
    const first = await startPipeline(cdc, ['cas'])
    await catchUp(cdc, ['cas'])
    // whichever it meets first: its session that was ended, or the epoch
    await expect(first.ended).rejects.toMatchObject({ code: expect.stringMatching(/TAKEN_OVER|DATABASE_UNREACHABLE/) })
  })

  test('the keys of changes are noted while a run tracks them', async () => {
    const { sink, claim } = await ready()
    await changePipeline(cdc.targetDb, PIPELINE, 3, { tracking: 3 })
    const touched = [{ relation: users, key: [int8(7)] }]
    const result: SinkResult = await sink.write(
      batch({ ...claim, tracking: 3 }, 1, { touched, work: { kind: 'none' } }),
    )
    expect(result).toMatchObject({ kind: 'written' })
    expect(await takeTouched(cdc.targetDb, PIPELINE, 3)).toEqual([{ table: 'public.cas', key: [int8(7)] }])
    expect(await takeTouched(cdc.targetDb, PIPELINE, 3)).toEqual([])
    await sink[Symbol.asyncDispose]()
  })
})

test('what an apply of ours writes is marked, and dropped by a stream of the same service only', async () => {
  await makeTables(`create table mark (id int primary key)`, ['mark'])
  await cdc.source.query(
    `begin; select pg_logical_emit_message(true, 'migrate.apply', 'users reverse 3'); insert into mark values (1); commit`,
  )
  await cdc.source.query(
    `begin; insert into mark values (2); select pg_logical_emit_message(true, 'migrate.apply', 'orders reverse 3'); commit`,
  )
  await catchUp(cdc, ['mark'])
  expect(await rowsOf(cdc.target, 'mark')).toEqual(['(2)'])

  // and our own sink marks what it writes
  await cdc.target.query(`select pg_create_logical_replication_slot('marks', 'test_decoding')`)
  await cdc.source.query(`insert into mark values (3)`)
  await catchUp(cdc, ['mark'])
  const { rows } = await cdc.target.query(`select data from pg_logical_slot_get_changes('marks', null, null)`)
  await cdc.target.query(`select pg_drop_replication_slot('marks')`)
  const lines = rows.map(({ data }) => data as string).filter((line) => !line.startsWith('table migrate.'))
  const at = lines.findIndex((line) => line.includes('table public.mark'))
  const begin = lines.slice(0, at).findLastIndex((line) => line.startsWith('BEGIN'))
  expect(lines.slice(begin, at).join()).toMatch(/prefix: migrate\.apply.*content:users forward \d+/)
})

test('idle progress is told, and made durable at the end', async () => {
  await makeTables(`create table idle (id int primary key)`, ['idle'])
  const until = await endOfLog(cdc.source)
  const reports: PipelineReport[] = []
  await catchUp(cdc, ['idle'], { until, report: (report) => reports.push(report) })
  expect(reports.at(-1)).toMatchObject({ phase: 'stopped', state: 'apply', hold: false })
  expect(reports.at(-1)?.applied).toBeGreaterThanOrEqual(until)
  expect((await readCheckpoint(cdc.targetDb, PIPELINE))?.commitLsn).toBeGreaterThanOrEqual(until)
})
