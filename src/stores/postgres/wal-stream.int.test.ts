import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Cdc, openCdc, openStream, publishTables, SLOT } from '../../../test/support/cdc.ts'
import type { Transaction } from '../../model/change.ts'
import { asLsn, type Lsn, ZERO_LSN } from '../../model/lsn.ts'
import type { WalStream } from '../../sync/ports.ts'
import { decode } from '../../sync/pgoutput/decode.ts'
import { blockOf } from '../../sync/block.ts'
import { Transactions } from '../../sync/transactions.ts'
import { memoryFile, messagesOf } from '../../../test/support/raw.ts'
import { freeSlot, readSlot } from './slot.ts'

// pg-logical-replication 2.5.0 loses data in each of these situations (research/cdc.md, section 5).

const TIMEOUT = 1_000
let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'stream', settings: { wal_sender_timeout: `${TIMEOUT}ms` } })
})
afterAll(() => cdc[Symbol.asyncDispose]())
beforeEach(async () => {
  await freeSlot(cdc.sourceDb, SLOT)
  await cdc.source.query(`drop table if exists t`)
  await cdc.source.query(`create table t (n int primary key, body text)`)
  await cdc.source.query(`alter table t alter body set storage external`)
  await publishTables(cdc, ['t'])
})

/** The transactions of a stream as they come; the walk ends when the caller breaks off. */
async function* transactionsOf(stream: WalStream): AsyncGenerator<Transaction> {
  const transactions = new Transactions(memoryFile)
  for await (const block of stream.blocks()) yield* transactions.push(block)
}

/** `n` of every row inserted. */
function numbersOf({ changes }: Transaction): number[] {
  return changes.flatMap((change) => (change.op === 'insert' ? [(change.row[0] as Buffer).readInt32BE()] : []))
}

async function take(stream: WalStream, rows: number): Promise<{ numbers: number[]; transactions: Transaction[] }> {
  const found: Transaction[] = []
  for await (const transaction of transactionsOf(stream)) {
    found.push(transaction)
    if (found.flatMap(numbersOf).length >= rows) break
  }
  return { numbers: found.flatMap(numbersOf), transactions: found }
}

async function confirmed(): Promise<Lsn> {
  return (await readSlot(cdc.sourceDb, SLOT))?.confirmed ?? ZERO_LSN
}

/** The WAL sender's row, looked at until it is as wanted. */
async function sender(is: (row: { pid: number; reply: string; sent: bigint }) => boolean) {
  for (;;) {
    const { rows } = await cdc.source.query(
      `select pid, reply_time::text as reply, (sent_lsn - '0/0')::text as sent,
         extract(epoch from clock_timestamp() - reply_time)::float8 as age
       from pg_stat_replication where application_name like 'migrate/%'`,
    )
    const row = rows[0] && { ...rows[0], sent: BigInt(rows[0].sent ?? 0) }
    if (row !== undefined && is(row)) return row as { pid: number; age: number }
  }
}

/** Two open transactions that commit one right after the other. */
async function commitPairs(pairs: number): Promise<void> {
  const [one, two] = [await cdc.client(cdc.sourceUrl), await cdc.client(cdc.sourceUrl)]
  await one.query(`set synchronous_commit = off`)
  await two.query(`set synchronous_commit = off`)
  for (let i = 0; i < pairs; i++) {
    await Promise.all([one.query('begin'), two.query('begin')])
    await one.query(`insert into t values (${2 * i})`)
    await two.query(`insert into t values (${2 * i + 1})`)
    await one.query('commit')
    await two.query('commit')
  }
}

test('stopped between two commits and started again, 100 times: nothing lost, nothing doubled', async () => {
  await commitPairs(100)
  const seen: number[] = []
  const starts = new Set<bigint>()
  const ends: bigint[] = []
  for (let round = 0; round < 100; round++) {
    await using stream = await openStream(cdc, ZERO_LSN)
    const transactions = new Transactions(memoryFile)
    // one transaction in the first round, then two: each time the stop is between the commits of a pair
    let wanted = round === 0 ? 1 : 2
    for await (const block of stream.blocks()) {
      for (const bytes of messagesOf(block)) {
        if (wanted === 0) continue
        const message = decode(bytes)
        if (message.kind === 'begin') starts.add(message.finalLsn)
        const [whole] = transactions.push(blockOf([bytes]))
        if (whole === undefined) continue
        seen.push(...numbersOf(whole))
        wanted -= 1
        if (wanted > 0) continue
        ends.push(whole.commitLsn)
        stream.acknowledge(whole.commitLsn)
      }
      if (wanted === 0) break
    }
    // what the server keeps is what was acknowledged, to the byte
    while ((await confirmed()) !== ends.at(-1));
    await freeSlot(cdc.sourceDb, SLOT)
  }
  expect(seen).toEqual(Array.from({ length: 199 }, (_, i) => i))
  // the trap is only there when the second commit record starts where the first one ends
  expect(ends.filter((end) => starts.has(end)).length).toBeGreaterThan(80)
})

test('a consumer that stalls for several timeouts keeps its connection, and nothing is acknowledged meanwhile', async () => {
  await using stream = await openStream(cdc, ZERO_LSN)
  const { pid } = await sender(() => true)
  const before = await confirmed()
  for (let n = 0; n < 100; n++) await cdc.source.query(`insert into t values (${n})`)
  const from = performance.now()
  const replies = new Set<string>()
  const { age } = await sender(({ reply }) => {
    replies.add(reply)
    return replies.size > 8 && performance.now() - from > 2.5 * TIMEOUT
  })
  // counted from the right epoch
  expect(Math.abs(age)).toBeLessThan(TIMEOUT / 1_000)
  expect((await sender(() => true)).pid).toBe(pid)
  expect(await confirmed()).toBe(before)
  const { numbers, transactions } = await take(stream, 100)
  expect(numbers).toHaveLength(100)
  // received is not durable
  expect(await confirmed()).toBe(before)
  const third = transactions[2]?.commitLsn as Lsn
  stream.acknowledge(third)
  stream.acknowledge(transactions[1]?.commitLsn as Lsn)
  while ((await confirmed()) === before) await sender(() => true)
  expect(await confirmed()).toBe(third)
})

test('a stalled consumer stops the server after 8 MiB, still answers it, and then gets every byte', async () => {
  await using stream = await openStream(cdc, ZERO_LSN)
  const { pid } = await sender(() => true)
  await cdc.source.query(`insert into t select n, repeat(chr(97 + n % 26), 1 << 20) from generate_series(1, 96) n`)
  const { rows } = await cdc.source.query(`select (pg_current_wal_lsn() - '0/0')::text as at`)
  const from = performance.now()
  const replies = new Set<string>()
  let sent = 0n
  await sender((row) => {
    replies.add(row.reply)
    sent = row.sent
    return replies.size > 5 && performance.now() - from > 1.5 * TIMEOUT
  })
  // the server has not got rid of the transaction
  expect(sent).toBeLessThan(BigInt(rows[0].at))
  const { transactions } = await take(stream, 96)
  expect((await sender(() => true)).pid).toBe(pid)
  // in parts, none of which is larger than what may wait
  expect(Math.max(...transactions.map(({ bytes }) => bytes))).toBeLessThan(8 << 20)
  expect(new Set(transactions.map(({ xid }) => xid)).size).toBe(1)
  const bodies = transactions.flatMap(({ changes }) =>
    changes.map((change) => (change.op === 'insert' ? (change.row[1] as Buffer) : null)),
  )
  const wrong = bodies.filter(
    (body, i) => body?.length !== 1 << 20 || !body.equals(Buffer.alloc(1 << 20, 97 + ((i + 1) % 26))),
  )
  expect([bodies.length, wrong.length]).toEqual([96, 0])
})

test('what was kept stays as it came', async () => {
  await using stream = await openStream(cdc, ZERO_LSN)
  await cdc.source.query(`insert into t select n, n || repeat('x', n % 300) from generate_series(1, 20000) n`)
  const { transactions } = await take(stream, 20_000)
  const wrong = transactions[0]?.changes.filter((change) => {
    if (change.op !== 'insert') return true
    const n = (change.row[0] as Buffer).readInt32BE()
    return (change.row[1] as Buffer).toString() !== `${n}${'x'.repeat(n % 300)}`
  })
  expect([transactions[0]?.changes.length, wrong?.length]).toEqual([20_000, 0])
})

test('messages of ours come inside their transaction, and with them one that changes nothing', async () => {
  await using stream = await openStream(cdc, ZERO_LSN)
  await cdc.source.query(`select pg_logical_emit_message(true, 'migrate.token', 'users 1 x')`)
  await cdc.source.query(
    `begin; insert into t values (1); select pg_logical_emit_message(true, 'migrate.apply', 'y'); commit`,
  )
  const { transactions } = await take(stream, 1)
  expect(transactions.map(({ notes, changes }) => [notes.map(({ prefix }) => prefix), changes.length])).toEqual([
    [['migrate.token'], 0],
    [['migrate.apply'], 1],
  ])
})

test('the position of an idle server is known when asked for', async () => {
  await using stream = await openStream(cdc, ZERO_LSN)
  // nothing published, but the log grows
  await cdc.source.query(`create table unpublished as select 1`)
  const { rows } = await cdc.source.query(`select (pg_current_wal_flush_lsn() - '0/0')::text as at`)
  for await (const { walEnd } of stream.blocks()) {
    if (walEnd !== null && walEnd >= BigInt(rows[0].at)) break
    stream.askPosition()
  }
})

test('a session that the server ends is an error that can be tried again', async () => {
  await using stream = await openStream(cdc, ZERO_LSN)
  const { pid } = await sender(() => true)
  // before the session is ended: the error may be there before the answer to that
  const refused = expect(take(stream, 1)).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  await cdc.source.query(`select pg_terminate_backend($1)`, [pid])
  await refused
})

test('a slot that is not there is an error at once', async () => {
  await expect(openStream(cdc, asLsn(0n), { slot: 'nothing' })).rejects.toMatchObject({ code: 'DATABASE_STATEMENT' })
  // and leaves no session behind: with each try again there would be one more
  const left = `select 1 from pg_stat_activity where application_name like 'migrate/%/stream'`
  while ((await cdc.source.query(left)).rowCount !== 0);
})

test('a wrong password is an error at once', async () => {
  const url = cdc.server.url('source', 'postgres', 'wrong')
  await expect(openStream(cdc, asLsn(0n), { url })).rejects.toMatchObject({ code: 'DATABASE_LOGIN' })
})

test('a publication that was dropped ends the stream, and nothing behind it is acknowledged', async () => {
  await using stream = await openStream(cdc, ZERO_LSN)
  await cdc.source.query(`insert into t values (1)`)
  await take(stream, 1)
  const before = await confirmed()
  await cdc.source.query(`drop publication p`)
  await cdc.source.query(`insert into t values (2)`)
  await expect(take(stream, 1)).rejects.toMatchObject({ code: 'SLOT_LOST' })
  // made again, it lacks what was changed meanwhile
  await cdc.source.query(`create publication p for table t`)
  await freeSlot(cdc.sourceDb, SLOT)
  await cdc.source.query(`insert into t values (3)`)
  const again = async (): Promise<unknown> => {
    await using stream2 = await openStream(cdc, ZERO_LSN)
    return await take(stream2, 2)
  }
  await expect(again()).rejects.toMatchObject({ code: 'SLOT_LOST' })
  expect(await confirmed()).toBe(before)
})

test('closing it ends the session on the server', async () => {
  const stream = await openStream(cdc, ZERO_LSN)
  const { pid } = await sender(() => true)
  await stream[Symbol.asyncDispose]()
  for (;;) {
    const { rowCount } = await cdc.source.query(`select 1 from pg_stat_replication where pid = $1`, [pid])
    if (rowCount === 0) break
  }
})
