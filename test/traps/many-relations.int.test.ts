// Was a defect: each relation message copies the map of all relations, and each piece keeps its own copy.
import { expect, test } from 'vitest'
import { openCdc, openStream, publishTables } from '../support/cdc.ts'
import { Receiver } from '../../src/sync/receiver.ts'
import { ZERO_LSN } from '../../src/model/lsn.ts'
import { memoryFile } from '../support/raw.ts'

test('memory of one transaction that changes a row of each of 5,000 tables', async () => {
  const count = 5_000
  await using cdc = await openCdc({ name: 'relations', settings: { max_locks_per_transaction: 512, fsync: 'off' } })
  await cdc.source.query(
    `do $$ begin for i in 1..${count} loop execute format('create table t%s (id int primary key)', i); end loop; end $$`,
  )
  await publishTables(
    cdc,
    Array.from({ length: count }, (_, i) => `t${i + 1}`),
  )
  await cdc.source.query(
    `do $$ begin for i in 1..${count} loop execute format('insert into t%s values (1)', i); end loop; end $$`,
  )
  const before = process.memoryUsage()
  const stream = await openStream(cdc, ZERO_LSN)
  const receiver = new Receiver({
    ...{ service: 'users', stream, from: ZERO_LSN, apart: () => false, news: () => undefined, openSpool: memoryFile },
  })
  const from = performance.now()
  receiver.start()
  while (!receiver.queue.some(({ transaction }) => transaction.size === count))
    await new Promise((r) => setTimeout(r, 50))
  const heap = (process.memoryUsage().heapUsed - before.heapUsed) / 2 ** 20
  console.log({ heapMiB: heap, ms: performance.now() - from, bytes: receiver.queue[0]?.transaction.bytes })
  await receiver.close()
  expect(heap).toBeLessThan(100)
})
