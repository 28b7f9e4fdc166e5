import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cdc, catchUp, openCdc, publishTables, rowsOf } from '../../../test/support/cdc.ts'

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'apply', settings: { logical_decoding_work_mem: '64kB' } })
})
afterAll(() => cdc[Symbol.asyncDispose]())

/** Makes the tables on both sides, runs the statements on the source one after the other, applies them at once. */
async function expectSame(schema: string, tables: readonly string[], statements: readonly string[]): Promise<void> {
  await cdc.both(`drop table if exists ${tables.join(', ')} cascade; ${schema}`)
  await publishTables(cdc, tables)
  for (const sql of statements) await cdc.source.query(sql)
  await catchUp(cdc, tables)
  for (const table of tables) expect(await rowsOf(cdc.target, table)).toEqual(await rowsOf(cdc.source, table))
}

const T = `create table t (id int primary key, u int, v text);`
const UNIQUE = `create table t (id int primary key, u int unique, v text);`
const SWAP = `create table t (id int primary key deferrable initially deferred, u int, v text);
  alter table t replica identity full; alter table t alter v set storage external;`
const FILL = `insert into t select i, i, 'v' || i from generate_series(1, 400) i`

test.each([
  [
    'many changes of a row',
    T,
    [FILL, `update t set u = u + 1`, `update t set v = v || u`, `delete from t where id % 3 = 0`],
  ],
  [
    'rows that come and go',
    T,
    [FILL, `delete from t`, FILL, `delete from t where id > 9`, `insert into t values (7000, 1, 'x')`],
  ],
  [
    'a row that goes and comes again',
    T,
    [FILL, `delete from t where id = 5; insert into t values (5, 0, null)`, `update t set u = 9 where id = 5`],
  ],
  [
    'another key for all rows',
    T,
    [FILL, `update t set id = -id`, `update t set u = 1`, `update t set id = id - 1000 where id % 2 = 0`],
  ],
  [
    'keys that move up by one',
    T,
    [
      FILL,
      ...[3, 2, 1].map((n) => `update t set id = ${n + 1000} where id = ${n}`),
      `update t set id = 3 where id = 1002`,
    ],
  ],
  [
    'unique values that change places',
    UNIQUE,
    [
      FILL,
      ...[1, 3, 5].map(
        (n) =>
          `update t set u = -1 where id = ${n}; update t set u = ${n} where id = ${n + 1}; update t set u = ${n + 1} where id = ${n}`,
      ),
    ],
  ],
  [
    'unique values that move on',
    UNIQUE,
    [
      FILL,
      `delete from t where u = 1`,
      ...Array.from({ length: 150 }, (_, i) => `update t set u = ${i + 1} where u = ${i + 2}`),
    ],
  ],
  [
    'a unique value that a new row takes over',
    UNIQUE,
    [FILL, `update t set u = null where id = 4; insert into t values (401, 4, 'n')`],
  ],
  [
    'keys that change places',
    SWAP,
    [FILL, `update t set id = 3 - id where id in (1, 2)`, `update t set id = id % 400 + 1`],
  ],
  [
    'keys that change places under big values',
    SWAP,
    [FILL, `update t set v = repeat(md5(id::text), 400) where id < 9`, `update t set id = 9 - id where id < 9`],
  ],
  [
    'nothing but a key',
    `create table t (id int primary key);`,
    [
      `insert into t select generate_series(1, 99)`,
      `update t set id = id + 500 where id % 2 = 0`,
      `delete from t where id < 20`,
    ],
  ],
  [
    'an empty table again',
    T,
    [FILL, `truncate t`, FILL, `update t set u = 0`, `truncate t; insert into t values (1, 1, 'x')`],
  ],
] as const)('%s', async (_, schema, statements) => {
  await expectSame(schema, ['t'], statements)
})

test('TOASTed values that were not sent, in every replica identity', async () => {
  const table = (
    name: string,
  ) => `create table ${name} (id int primary key, n int not null unique, big text, more text);
    alter table ${name} alter big set storage external, alter more set storage external;`
  const tables = ['d', 'i', 'f']
  await expectSame(
    tables.map(table).join('\n') +
      `alter table i add unique (id, n); alter table i replica identity using index i_id_n_key;
      alter table f replica identity full;`,
    tables,
    tables.flatMap((name) => [
      `insert into ${name} select i, i, repeat(md5(i::text), 100), repeat(md5('m' || i), 100) from generate_series(1, 60) i`,
      `update ${name} set n = n + 1000`,
      `update ${name} set more = 'small' where id % 2 = 0`,
      `update ${name} set big = repeat(md5('again' || id), 90) where id % 3 = 0`,
      `update ${name} set id = id + 500 where id < 30`,
      `update ${name} set n = -n where id % 5 = 0`,
      `delete from ${name} where id % 7 = 0`,
    ]),
  )
})

test('a batch of what was known before and of what is new to it', async () => {
  await cdc.both(`drop table if exists t; ${T}`)
  await publishTables(cdc, ['t'])
  await cdc.source.query(FILL)
  await catchUp(cdc, ['t'])
  for (const sql of [
    `update t set v = null where id > 200`,
    `delete from t where id < 50`,
    `insert into t values (1, 2, '3')`,
  ])
    await cdc.source.query(sql)
  await catchUp(cdc, ['t'])
  expect(await rowsOf(cdc.target, 't')).toEqual(await rowsOf(cdc.source, 't'))
})

test('a transaction that is streamed before its end, with what was rolled back in it, beside others', async () => {
  const tables = ['t', 'other']
  await cdc.both(`drop table if exists t, other; ${T} create table other (id int primary key)`)
  await publishTables(cdc, tables)
  const second = await cdc.client(cdc.sourceUrl)
  await second.query(`begin; insert into t select i, i, repeat('x', 200) from generate_series(1, 3000) i`)
  await cdc.source.query(`insert into other values (1)`)
  await second.query(`savepoint a; insert into t select i, i, 'gone' from generate_series(5000, 8000) i`)
  await second.query(
    `update t set v = 'gone too'; rollback to a; savepoint b; update t set u = 7 where id % 2 = 0; release b`,
  )
  await cdc.source.query(`insert into other values (2)`)
  await second.query(
    `commit; begin; insert into t select i, i, repeat('y', 200) from generate_series(9000, 12000) i; rollback`,
  )
  await cdc.source.query(`insert into other values (3)`)
  await catchUp(cdc, tables)
  for (const table of tables) expect(await rowsOf(cdc.target, table)).toEqual(await rowsOf(cdc.source, table))
  // it did come that way
  const { rows } = await cdc.source.query(`select stream_txns::int as streamed from pg_stat_replication_slots`)
  expect(rows[0].streamed).toBeGreaterThan(0)
})

test('a prepared transaction counts when it is committed', async () => {
  await using cdc = await openCdc({
    name: 'prepared',
    settings: { max_prepared_transactions: '5', logical_decoding_work_mem: '64kB' },
  })
  await cdc.both(T)
  await publishTables(cdc, ['t'])
  await cdc.source.query(
    `begin; insert into t select i, i, repeat('x', 200) from generate_series(1, 3000) i; prepare transaction 'one'`,
  )
  await cdc.source.query(`begin; insert into t values (-1, 1, 'a'); prepare transaction 'two'`)
  await cdc.source.query(`insert into t values (-2, 1, 'b')`)
  await cdc.source.query(`commit prepared 'one'`)
  await cdc.source.query(`rollback prepared 'two'`)
  await catchUp(cdc, ['t'])
  expect(await rowsOf(cdc.target, 't')).toEqual(await rowsOf(cdc.source, 't'))
})

test('a row that somebody has taken away is missed, however many changes are taken together', async () => {
  await cdc.both(`drop table if exists t; ${T}`)
  await publishTables(cdc, ['t'])
  await cdc.source.query(FILL)
  await catchUp(cdc, ['t'])
  await cdc.target.query(`delete from t where id = 77`)
  await cdc.source.query(`update t set u = 1`)
  await expect(catchUp(cdc, ['t'])).rejects.toMatchObject({ code: 'ROW_MISSING' })
  const { rows } = await cdc.target.query(`select count(*)::int as changed from t where u = 1`)
  expect(rows[0].changed).toBe(1)
})
