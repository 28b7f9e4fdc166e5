import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cdc, catchUp, openCdc, PIPELINE, publishTables, rowsOf } from '../../../test/support/cdc.ts'
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
