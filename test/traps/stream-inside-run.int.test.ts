// Was a defect: a run takes everything between its first and its last transaction, so also a stream block of another one.
import { expect, test } from 'vitest'
import { catchUp, openCdc, publishTables, rowsOf } from '../support/cdc.ts'

test('small transactions before and after a block of a streamed one', async () => {
  await using cdc = await openCdc({ name: 'inrun', settings: { logical_decoding_work_mem: '64kB' } })
  await cdc.both(`create table t (id int primary key, v text)`)
  await publishTables(cdc, ['t'])
  const big = await cdc.client(cdc.sourceUrl)
  await cdc.source.query(`insert into t values (-1, 'small')`)
  await big.query(`begin`)
  for (let i = 1; i <= 20; i++) {
    await big.query(`insert into t select ${i} * 1000 + n, repeat('x', 200) from generate_series(1, 300) n`)
    await cdc.source.query(`insert into t values (-${i + 1}, 'small')`)
  }
  await big.query(`commit`)
  await catchUp(cdc, ['t'])
  expect(await rowsOf(cdc.target, 't')).toEqual(await rowsOf(cdc.source, 't'))
})
