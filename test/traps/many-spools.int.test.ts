// Was a defect: each streamed transaction keeps up to 4 MiB in memory, however many there are.
import { expect, test } from 'vitest'
import { openSpoolFile } from '../../src/app/spool-file.ts'
import { ZERO_LSN } from '../../src/model/lsn.ts'
import { Receiver } from '../../src/sync/receiver.ts'
import { openCdc, openStream, publishTables } from '../support/cdc.ts'

test('memory while 80 transactions of 3.9 MB are open', async () => {
  await using cdc = await openCdc({ name: 'spools', settings: { logical_decoding_work_mem: '64kB', fsync: 'off' } })
  await cdc.both(`create table t (id int primary key, v text)`)
  await cdc.source.query(`alter table t alter v set storage plain`)
  await publishTables(cdc, ['t'])
  const before = process.memoryUsage().arrayBuffers
  for (let c = 0; c < 80; c++) {
    const client = await cdc.client(cdc.sourceUrl)
    await client.query(
      `begin; insert into t select ${c} * 10000 + i, repeat('x', 2000) from generate_series(1, 1950) i`,
    )
  }
  const stream = await openStream(cdc, ZERO_LSN)
  const receiver = new Receiver({
    ...{ service: 'users', stream, from: ZERO_LSN, apart: () => false, news: () => undefined },
    openSpool: () => openSpoolFile(),
  })
  const { rows } = await cdc.source.query(`select pg_current_wal_insert_lsn() - '0/0' as at`)
  receiver.start()
  while (receiver.received < BigInt(rows[0].at)) {
    stream.askPosition()
    await cdc.source.query(`select pg_logical_emit_message(true, 'test', 'x')`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  globalThis.gc?.()
  const held = (process.memoryUsage().arrayBuffers - before) / 2 ** 20
  console.log({ heldMiB: held })
  await receiver.close()
  expect(held).toBeLessThan(100)
})
