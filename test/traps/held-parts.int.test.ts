// Once a defect: under a hold each part of a big transaction waits a grace of its own, in an open transaction of the target.
import { expect, test } from 'vitest'
import { catchUp, openCdc, PIPELINE, publishTables } from '../support/cdc.ts'

test('a big transaction under a hold waits one grace, not one for each part that comes later', async () => {
  await using cdc = await openCdc({ name: 'heldparts' })
  await cdc.both(`create table t (id int primary key, v text)`)
  await publishTables(cdc, ['t'])
  await cdc.target.query(`update migrate.checkpoint set hold = true, grace_ms = 2000 where pipeline = $1`, [PIPELINE])
  // 20 MB of TOASTed values: few rows, five parts
  await cdc.source.query(
    `alter table t alter v set storage external; insert into t select i, repeat('x', 200000) from generate_series(1, 200) i`,
  )
  const idle: number[] = []
  const look = setInterval(() => {
    void cdc.source
      .query(
        `select extract(epoch from clock_timestamp() - state_change)::float8 as s from pg_stat_activity
         where state = 'idle in transaction' and application_name like 'migrate/shop_users/forward/%'`,
      )
      .then(({ rows }) => rows.forEach(({ s }) => idle.push(s)))
  }, 100)
  const from = performance.now()
  try {
    await catchUp(cdc, ['t'])
  } finally {
    clearInterval(look)
  }
  console.log({ took: performance.now() - from, longestIdleInTransaction: Math.max(...idle) })
  expect(Math.max(0, ...idle)).toBeLessThan(1)
})
