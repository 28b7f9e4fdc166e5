// Once a defect: a temporary table for each set of columns that were not sent: each commit locks all of them, until the server has no more locks.
import { expect, test } from 'vitest'
import { catchUp, openCdc, publishTables } from '../support/cdc.ts'

test('updates of any of 12 big columns', async () => {
  await using cdc = await openCdc({ name: 'shapes', settings: { max_connections: 100 } })
  const columns = Array.from({ length: 12 }, (_, i) => `c${i}`)
  await cdc.both(`create table t (id int primary key, ${columns.map((c) => `${c} text`).join(', ')}) with (toast_tuple_target = 128);
    ${columns.map((c) => `alter table t alter ${c} set storage external`).join(';')}`)
  await publishTables(cdc, ['t'])
  await cdc.source.query(
    `insert into t select i, ${columns.map(() => `repeat(md5(i::text), 8)`).join(', ')} from generate_series(0, 4095) i`,
  )
  await catchUp(cdc, ['t'])
  const set = columns.map((c, i) => `${c} = case when id & ${1 << i} <> 0 then repeat(md5(${c}), 8) else ${c} end`)
  // small batches: nothing is big here but the number of combinations
  for (let from = 0; from < 4096; from += 256) {
    await cdc.source.query(`update t set ${set.join(', ')} where id >= ${from} and id < ${from + 256}`)
  }
  let last = performance.now()
  await catchUp(cdc, ['t'], {
    failpoint: async (name) => {
      if (!name.endsWith('after-ack')) return
      const { rows } = await cdc.target.query(
        `select count(*)::int as n from pg_class where relpersistence = 't' and relkind = 'r'`,
      )
      console.log(rows[0], Math.round(performance.now() - last))
      last = performance.now()
    },
  })
  const sum = async (client: typeof cdc.source) =>
    (await client.query(`select md5(string_agg(t::text, '' order by id)) as sum from t`)).rows[0].sum
  expect(await sum(cdc.target)).toBe(await sum(cdc.source))
})
