// Once a defect: a message longer than the high water mark (8 MiB) pauses the socket and nothing ever resumes it.
import { expect, test } from 'vitest'
import { catchUp, openCdc, publishTables } from '../support/cdc.ts'

test('a row of 20 MB arrives', async () => {
  await using cdc = await openCdc({ name: 'bigrow' })
  await cdc.both(`create table t (id int primary key, v text)`)
  await publishTables(cdc, ['t'])
  await cdc.source.query(`insert into t values (1, repeat('x', 20000000))`)
  const abort = new AbortController()
  const late = setTimeout(() => abort.abort(), 15_000)
  await catchUp(cdc, ['t'], { signal: abort.signal }).catch(() => undefined)
  clearTimeout(late)
  const { rows } = await cdc.target.query(`select length(v) as length from t`)
  expect(rows).toEqual([{ length: 20_000_000 }])
})
