// Once a defect: the last chunk of a streamed transaction with a replication origin begins with an ORIGIN message.
import { expect, test } from 'vitest'
import { catchUp, openCdc, publishTables, rowsOf } from '../support/cdc.ts'

test('a streamed transaction that the monolith itself has from elsewhere', async () => {
  await using cdc = await openCdc({ name: 'origin', settings: { logical_decoding_work_mem: '64kB' } })
  await cdc.both(`create table t (id int primary key, v text)`)
  await publishTables(cdc, ['t'])
  await cdc.source.query(`select pg_replication_origin_create('elsewhere')`)
  await cdc.source.query(`select pg_replication_origin_session_setup('elsewhere')`)
  await cdc.source.query(`begin; select pg_replication_origin_xact_setup('0/1', now());
    insert into t select i, repeat('x', 200) from generate_series(1, 3000) i; commit`)
  await cdc.source.query(`select pg_replication_origin_session_reset()`)
  await catchUp(cdc, ['t'])
  expect(await rowsOf(cdc.target, 't')).toEqual(await rowsOf(cdc.source, 't'))
})
