// Once a defect: a key change is compacted to DELETE and INSERT, so the target's own columns fall back to their defaults.
import { expect, test } from 'vitest'
import { catchUp, openCdc, publishTables } from '../support/cdc.ts'

test('a row that gets another key keeps what only the target knows of it', async () => {
  await using cdc = await openCdc({ name: 'own' })
  await cdc.source.query(`create table t (id int primary key, v text)`)
  await cdc.target.query(`create table t (id int primary key, v text, own text default 'default')`)
  await publishTables(cdc, ['t'])
  await cdc.source.query(`insert into t values (1, 'a')`)
  await catchUp(cdc, ['t'])
  await cdc.target.query(`update t set own = 'precious'`)
  await cdc.source.query(`update t set id = 2`)
  await catchUp(cdc, ['t'])
  expect((await cdc.target.query(`select * from t`)).rows).toEqual([{ id: 2, v: 'a', own: 'precious' }])
})
