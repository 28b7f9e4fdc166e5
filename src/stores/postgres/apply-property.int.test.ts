import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cdc, catchUp, openCdc, publishTables, rowsOf, startPipeline } from '../../../test/support/cdc.ts'
import {
  carryOut,
  type Episode,
  firstRows,
  type Kind,
  KINDS,
  randomEpisodes,
} from '../../../test/support/random-history.ts'
import { createTables, type RandomTable, randomTables, tableName } from '../../../test/support/random-schema.ts'

// Random transactions on random tables, with a worker that dies, is stopped and starts again anywhere: in the end the
// target has the source's rows. `npm run soak -- sync-property` draws 1,000 schemas; MIGRATE_SEED repeats a run.

const RUNS = Number(process.env['MIGRATE_SCHEMAS'] ?? 30)
const SEED = Number(process.env['MIGRATE_SEED'] ?? 20_261_125)

let cdc: Cdc
let schemas = 0
const seen = { kinds: new Map<Kind, number>(), deaths: 0, stops: 0 }
beforeAll(async () => {
  cdc = await openCdc({ name: 'property' })
})
afterAll(() => cdc[Symbol.asyncDispose]())

test(`${RUNS} random schemas: the target has the source's rows`, { timeout: 7_200_000 }, async () => {
  const property = fc.asyncProperty(fc.noBias(randomTables), fc.noBias(randomEpisodes), async (tables, episodes) => {
    const schema = `s${schemas++}`
    const names = tables.map((_, i) => tableName(schema, i))
    await cdc.both(createTables(schema, tables))
    try {
      await publishTables(cdc, names)
      await carryOut({ client: cdc.source, schema, tables }, firstRows(tables))
      for (const episode of episodes) await play(schema, tables, names, episode)
      await catchUp(cdc, names)
      for (const name of names) expect(await rowsOf(cdc.target, name)).toEqual(await rowsOf(cdc.source, name))
    } finally {
      await cdc.both(`drop schema ${schema} cascade`)
    }
  })
  // a counterexample is made smaller for so long at most
  const limit = { interruptAfterTimeLimit: RUNS * 4_000, markInterruptAsFailure: true }
  await fc.assert(property, { numRuns: RUNS, seed: SEED, ...limit })
  const kinds = Object.fromEntries(seen.kinds)
  console.log(`${RUNS} schemas: ${JSON.stringify({ ...seen, kinds })}`)
  // a history in which nothing happens proves nothing
  expect(Object.keys(kinds).sort()).toEqual([...new Set<string>(KINDS)].sort())
  expect(seen.deaths).toBeGreaterThan(RUNS / 10)
})

async function play(schema: string, tables: readonly RandomTable[], names: readonly string[], episode: Episode) {
  const { transactions, worker, end } = episode
  const make = async (): Promise<void> => {
    for (const each of transactions) {
      const done = await carryOut({ client: cdc.source, schema, tables }, each)
      for (const kind of done) seen.kinds.set(kind, (seen.kinds.get(kind) ?? 0) + 1)
    }
  }
  if (worker === 'off') return make()
  if (worker === 'behind') {
    await make()
    await catchUp(cdc, names, ending(end)).catch(rethrowUnlessDead)
    return
  }
  const stop = new AbortController()
  const { signal, failpoint } = ending(end)
  const running = await startPipeline(cdc, names, { failpoint, signal: AbortSignal.any([signal, stop.signal]) })
  await make()
  stop.abort()
  await running.ended.catch(rethrowUnlessDead)
}

class Dead extends Error {}

/** A failpoint that throws, or ends the pipeline in order, when it is come to for the n-th time. */
function ending(end: Episode['end']) {
  const stop = new AbortController()
  let left = end?.after ?? -1
  return {
    signal: stop.signal,
    failpoint(): Promise<void> {
      if (left-- !== 0) return Promise.resolve()
      if (end?.kind === 'die') return Promise.reject(new Dead())
      seen.stops += 1
      stop.abort()
      return Promise.resolve()
    },
  }
}

function rethrowUnlessDead(error: unknown): void {
  if (!(error instanceof Dead)) throw error
  seen.deaths += 1
}
