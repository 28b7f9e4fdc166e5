// Was a defect: the rooms of the compactor are kept for every table for ever, as large as its largest batch was.
import { expect, test } from 'vitest'
import { openCdc, publishTables, startPipeline } from '../support/cdc.ts'

// 20 s each: `npm run soak -- sync-memory`
test.runIf(process.env.MIGRATE_MATRIX === 'full')(
  'memory after one bulk load into each of 14 tables',
  async () => {
    await using cdc = await openCdc({ name: 'rooms', settings: { fsync: 'off', logical_decoding_work_mem: '4GB' } })
    const tables = Array.from({ length: 14 }, (_, i) => `t${i}`)
    await cdc.both(tables.map((t) => `create table ${t} (id int primary key)`).join(';'))
    await publishTables(cdc, tables)
    const memory = () => Math.round(process.memoryUsage().arrayBuffers / 2 ** 20)
    const before = memory()
    const abort = new AbortController()
    const { ended, counters } = await startPipeline(cdc, tables, { signal: abort.signal })
    let rows = 0
    const seen: number[] = []
    for (const t of tables) {
      await cdc.source.query(`insert into ${t} select generate_series(1, 200000)`)
      rows += 200_000
      while (counters.rows < rows) await new Promise((resolve) => setTimeout(resolve, 20))
      globalThis.gc?.()
      seen.push(memory() - before)
    }
    console.log(seen.join(' '))
    abort.abort()
    await ended
    // nothing waits, nothing is being written
    expect((seen.at(-1) ?? 0) - (seen[3] ?? 0)).toBeLessThan(40)
  },
  150_000,
)
