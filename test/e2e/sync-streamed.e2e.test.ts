// Transactions that the server sends before they have ended, and those that end in two steps, on a server that keeps
// next to nothing in memory: they arrive when they are committed, whole, once, and what was rolled back never.
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { account, keepJournal } from '../support/pair-journal.ts'
import type { Deeds } from '../support/pair-load.ts'
import { type Pair, startPair } from '../support/pair.ts'
import { eventually } from '../support/two-sides.ts'

const SERVICE = 'a'

const stack = new AsyncDisposableStack()
/** of client one and of client two: they hold their counters at the same time */
const deeds = [1, 2].map((): Deeds => ({ next: 1, acknowledged: new Set(), unknown: new Set() }))
let pair: Pair
let worker: RunningProcess
let one: pg.Client
let two: pg.Client

beforeAll(async () => {
  const settings = { logical_decoding_work_mem: '64kB', max_prepared_transactions: 10 }
  pair = await startPair(stack, { services: [SERVICE], settings: { source: settings } })
  await pair.syncOnce(SERVICE)
  await keepJournal(pair, 'target', [SERVICE])
  ;[one, two] = [await pair.client('source'), await pair.client('source')]
  for (const client of [one, two]) await client.query(`set search_path = ${SERVICE}`)
  worker = await pair.startSync(SERVICE)
})
afterAll(() => stack.disposeAsync())

/** Several times what the server keeps in memory; the rows of one number never meet those of another. */
const many = (n: number): string =>
  `insert into bulk select i, md5(i::text) from generate_series(${n * 10_000}, ${n * 10_000 + 1_499}) i`

/** The next numbered transaction, in the ledger and in its counter; the caller commits it. */
function numbered(writer: 1 | 2 = 1): string {
  const { acknowledged } = deeds[writer - 1] as Deeds
  acknowledged.add(acknowledged.size + 1)
  return `update counters set n = n + 1 where writer = ${writer};
    insert into ledger values (${writer}, ${acknowledged.size}, 'streamed')`
}

async function restart(): Promise<void> {
  await worker.kill9()
  worker = await pair.startSync(SERVICE)
}

async function rowsThere(n: number): Promise<number> {
  const sql = `select count(*)::int as n from ${SERVICE}.bulk where id between $1 and $2`
  return (await pair.query<{ n: number }>('target', sql, [n * 10_000, n * 10_000 + 9_999]))[0]?.n ?? 0
}

async function expectSound(): Promise<void> {
  await pair.carried(SERVICE, worker)
  expect(await pair.hashes('target', SERVICE)).toEqual(await pair.hashes('source', SERVICE))
  const { carried, ...faults } = await account(pair, 'target', SERVICE, deeds)
  expect(faults).toEqual({ lost: 0, invented: 0, doubled: 0 })
  expect(carried).toBe(deeds.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0))
}

test('savepoints rolled back in a transaction too large for memory, while others commit', async () => {
  await one.query(`begin; ${numbered()}; ${many(1)}; savepoint a; ${many(2)}; savepoint b; ${many(3)}; rollback to b;
    ${many(4)}; update bulk set body = 'b' where id < 10100`)
  // nothing of it is there yet, and it holds nobody up
  await two.query(`begin; ${numbered(2)}; commit`)
  await pair.carried(SERVICE, worker)
  expect(await rowsThere(1)).toBe(0)
  await one.query(`rollback to a; ${many(5)}; update bulk set id = id + 5000 where id < 10100; savepoint c; ${many(6)};
    release c; delete from bulk where id between 60000 and 60199; commit`)
  await expectSound()
  expect(await Promise.all([1, 2, 3, 4, 5, 6].map(rowsThere))).toEqual([1_500, 0, 0, 0, 1_500, 1_300])
})

test('one that is rolled back after it was sent leaves nothing', async () => {
  await one.query(`begin; ${many(10)}; savepoint a; ${many(11)}`)
  await pair.carried(SERVICE, worker)
  await one.query(`rollback`)
  await expectSound()
  expect(await rowsThere(10)).toBe(0)
})

test('two at once, committed the other way round, with TOAST values, changes of keys and a truncate', async () => {
  await two.query(`begin; ${numbered(2)}; ${many(20)}; update items set n = n + 1 where id % 2 = 0`)
  await one.query(`begin; ${many(21)}; update items set id = id + 500000 where id % 2 = 1;
    update items set body = repeat(md5(id::text), 200) where id % 3 = 1 and id % 2 = 1; ${many(22)}`)
  await pair.carried(SERVICE, worker)
  await one.query(`truncate scratch; insert into scratch select i, 'x' from generate_series(1, 2000) i; commit`)
  await two.query(`commit`)
  await expectSound()
  expect(await Promise.all([20, 21, 22].map(rowsThere))).toEqual([1_500, 1_500, 1_500])
})

test('a worker that dies in the middle of them', async () => {
  await one.query(`begin; ${numbered()}; ${many(30)}; savepoint a; ${many(31)}`)
  await pair.carried(SERVICE, worker)
  await restart()
  await one.query(`rollback to a; ${many(32)}`)
  await pair.carried(SERVICE, worker)
  await restart()
  await one.query(`commit`)
  await expectSound()
  expect(await Promise.all([30, 31, 32].map(rowsThere))).toEqual([1_500, 0, 1_500])
})

test.each([
  ['a small one', 40, () => `insert into bulk values (NUMBER, 'small')`, 1],
  ['one too large for memory', 50, (n: number) => `${many(n)}; savepoint a; ${many(n + 1)}; rollback to a`, 1_500],
] as const)('prepared transactions: %s', async (_, number, work, rows) => {
  const prepare = (client: pg.Client, gid: string, n: number, more = ''): Promise<unknown> =>
    client.query(`begin; ${more} ${work(n).replace('NUMBER', String(n * 10_000))}; prepare transaction '${gid}'`)
  await prepare(one, 'to be', number, `${numbered()};`)
  await pair.carried(SERVICE, worker)
  // one that never commits may not be seen
  expect(await rowsThere(number)).toBe(0)
  await one.query(`commit prepared 'to be'`)
  await expectSound()
  expect(await rowsThere(number)).toBe(rows)

  await prepare(two, 'not to be', number + 2)
  await pair.carried(SERVICE, worker)
  await two.query(`rollback prepared 'not to be'`)

  // prepared and passed by before a death: what comes at its commit is the commit alone
  await prepare(one, 'over a death', number + 4, `${numbered()};`)
  await pair.carried(SERVICE, worker)
  await confirmedBehindNow()
  await restart()
  await one.query(`commit prepared 'over a death'`)
  await expectSound()
  expect(await Promise.all([number + 2, number + 4].map(rowsThere))).toEqual([0, rows])

  // nobody is there for both of its steps
  await worker.kill9()
  await prepare(one, 'unseen', number + 6, `${numbered()};`)
  await one.query(`commit prepared 'unseen'`)
  worker = await pair.startSync(SERVICE)
  await expectSound()
  expect(await rowsThere(number + 6)).toBe(rows)
})

test('the server was short of memory for them', async () => {
  const sql = `select sum(spill_txns + stream_txns)::int as n from pg_stat_replication_slots`
  // it writes its statistics when it has nothing else to do
  await eventually(
    () => pair.query<{ n: number }>('source', sql),
    ([row]) => (row?.n ?? 0) > 5,
  )
})

/** Waits until the slot has let go of everything that is in the log now. */
async function confirmedBehindNow(): Promise<void> {
  const [now] = await pair.query<{ at: string }>('source', `select pg_current_wal_insert_lsn()::text as at`)
  const slot = `select 1 from pg_replication_slots where slot_name = 'migrate_pair_${SERVICE}' and confirmed_flush_lsn >= $1::pg_lsn`
  await pair.carried(SERVICE, worker)
  await eventually(
    () => pair.query('source', slot, [now?.at]),
    ({ length }) => length === 1,
  )
}
