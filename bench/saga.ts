// Sagas beside DBOS Transact: three steps each, 50 at a time, every step durable (fsync on), the same server, alternately
// in one run. `npm run bench:saga`, with `-- --json` for the last line.
//   --sagas 3000  of each round
//   --rounds 3    of each contender; the best counts
import { cpus, loadavg, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { startPostgres } from '../fixtures/servers/postgres.ts'
import { openPool } from '../fixtures/servers/pool.ts'
import { defineSaga, installEventing, Sagas } from '../src/index.ts'
import { npmPeer } from './peers/npm-peer.ts'
import { printReport, quantile, type Row } from './report.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    sagas: { type: 'string', default: '3000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
})
const COUNT = Number(values.sagas)
const AT_ONCE = 50

interface Dbos {
  readonly DBOS: {
    setConfig(config: unknown): void
    registerWorkflow<F>(work: F, config: { name: string }): F
    runStep<T>(step: () => Promise<T>, config: { name: string }): Promise<T>
    launch(): Promise<void>
    shutdown(): Promise<void>
  }
}

await using server = await startPostgres({ name: 'bench-saga', version: '15' })
const { user, password } = server.superuser
const root = openPool(server.url('postgres', user, password), 1)
for (const name of ['ours', 'dbos']) await root.query(`create database ${name}`)
await root.end()

const pool = openPool(server.url('ours', user, password), 10)
await installEventing(pool)
const step = (n: number) => async () => ({ n })
const saga = defineSaga<{ n: number }>({ name: 'Three', version: 1 })
  .call('one', { execute: step(1), compensate: null })
  .call('two', { execute: step(2), compensate: null })
  .call('three', { execute: step(3), compensate: null })
  .build()
const sagas = new Sagas(pool, { sagas: [saga] })
const ending = new AbortController()
const running = sagas.run({ signal: ending.signal })

const { DBOS } = await npmPeer<Dbos>('@dbos-inc/dbos-sdk', '5.3.0')
DBOS.setConfig({
  name: 'bench',
  systemDatabaseUrl: server.url('dbos', user, password),
  logLevel: 'error',
  runAdminServer: false,
})
const workflow = DBOS.registerWorkflow(
  async (_input: { n: number }) => {
    await DBOS.runStep(step(1), { name: 'one' })
    await DBOS.runStep(step(2), { name: 'two' })
    return await DBOS.runStep(step(3), { name: 'three' })
  },
  { name: 'three' },
)
await DBOS.launch()

const CONTENDERS: Readonly<Record<'ours' | 'dbos', (n: number) => Promise<unknown>>> = {
  async ours(n) {
    const { status } = await (await sagas.start(saga, { n })).outcome()
    if (status !== 'DONE') throw new Error(`a saga is ${status}`)
  },
  dbos: (n) => workflow({ n }),
}

interface Result {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}

async function race(run: (n: number) => Promise<unknown>): Promise<Result> {
  const latencies: number[] = []
  let left = COUNT
  const started = performance.now()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (left > 0) {
        left -= 1
        const from = performance.now()
        await run(left)
        latencies.push(performance.now() - from)
      }
    }),
  )
  const seconds = (performance.now() - started) / 1_000
  return { perSecond: COUNT / seconds, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
}

const nothing: Result = { perSecond: 0, p50: 0, p99: 0 }
const best: Record<'ours' | 'dbos', Result> = { ours: nothing, dbos: nothing }
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const name of ['dbos', 'ours'] as const) {
    if (values.only !== undefined && values.only !== name) continue
    const result = await race(CONTENDERS[name])
    const { perSecond, p50, p99 } = result
    process.stderr.write(
      `round ${round}, ${name}: ${Math.round(perSecond)}/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms\n`,
    )
    if (perSecond > best[name].perSecond) best[name] = result
  }
}

const load = loadavg()
  .map((n) => n.toFixed(1))
  .join(' ')
const ratio = (ours: number, theirs: number): number => Math.round((ours / theirs) * 100) / 100
const peer = 'DBOS Transact 5.3.0'
const row = (name: 'p50' | 'p99', goal: number | null): Row => {
  const [ours, theirs] = [best.ours[name], best.dbos[name]].map((n) => Math.round(n * 10) / 10) as [number, number]
  return {
    ...{
      work: `three-step sagas, ${name}`,
      unit: 'ms',
      peer,
      peerValue: theirs,
      ours,
      goal: goal === null ? null : theirs,
    },
    ...{ ratio: ratio(ours, theirs), pass: goal === null || ours < theirs },
  }
}
const rate = ratio(best.ours.perSecond, best.dbos.perSecond)
process.exitCode = printReport(
  {
    bench: 'saga',
    machine: `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, load ${load}`,
    rows: [
      {
        ...{
          work: `three-step sagas, ${AT_ONCE} at a time`,
          unit: '/s',
          peer,
          peerValue: Math.round(best.dbos.perSecond),
        },
        ...{ ours: Math.round(best.ours.perSecond), ratio: rate, goal: 3, more: true, pass: rate >= 3 },
      },
      row('p50', 1),
      row('p99', null),
    ],
  },
  values.json,
)
ending.abort()
await running
await DBOS.shutdown()
await pool.end()
