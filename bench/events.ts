// Appends to the event store beside Emmett's PostgreSQL store: one event each, 50 writers on 50 streams, every append
// durable (fsync on), the same server, alternately in one run. `npm run bench:events`, with `-- --json` for the last line.
//   --seconds 5   of each round
//   --rounds 3    of each contender; the best counts
import { cpus, loadavg, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { startPostgres } from '../fixtures/servers/postgres.ts'
import { openPool } from '../fixtures/servers/pool.ts'
import { event, EventStore, installEventing } from '../src/index.ts'
import { npmPeer } from './peers/npm-peer.ts'
import { printReport, quantile } from './report.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
})
const SECONDS = Number(values.seconds)
const WRITERS = 50

type Append = (stream: string, version: number) => Promise<unknown>

interface Emmett {
  getPostgreSQLEventStore(url: string): {
    readonly schema: { migrate(): Promise<unknown> }
    appendToStream(stream: string, events: unknown[], options: { expectedStreamVersion: bigint }): Promise<unknown>
    close(): Promise<void>
  }
}

await using server = await startPostgres({ name: 'bench-events', version: '15' })
const { user, password } = server.superuser
const root = openPool(server.url('postgres', user, password), 1)
for (const name of ['ours', 'emmett']) await root.query(`create database ${name}`)
await root.end()

const pool = openPool(server.url('ours', user, password), 10)
await installEventing(pool)
const ours = new EventStore(pool, { events: { Counted: event<{ n: number; text: string }>() } })
const { getPostgreSQLEventStore } = await npmPeer<Emmett>('@event-driven-io/emmett-postgresql', '0.42.0')
// its pools outlive close(), and nobody listens to what they say when the server ends
process.on('uncaughtException', (error) => {
  if ((error as { code?: string }).code !== '57P01') throw error
})
const emmett = getPostgreSQLEventStore(server.url('emmett', user, password))
await emmett.schema.migrate()

const data = { n: 1, text: 'x'.repeat(100) }
const CONTENDERS: Readonly<Record<'ours' | 'emmett', Append>> = {
  ours: (stream, version) => ours.append(stream, [{ type: 'Counted', data }], { expectedVersion: version }),
  emmett: (stream, version) =>
    emmett.appendToStream(stream, [{ type: 'Counted', data }], { expectedStreamVersion: BigInt(version) }),
}

interface Result {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}

async function race(append: Append, round: number): Promise<Result> {
  const latencies: number[] = []
  const started = performance.now()
  const until = started + SECONDS * 1_000
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      for (let version = 0; performance.now() < until; version++) {
        const from = performance.now()
        await append(`s${round}-${writer}`, version)
        latencies.push(performance.now() - from)
      }
    }),
  )
  const seconds = (performance.now() - started) / 1_000
  return { perSecond: latencies.length / seconds, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
}

const best: Record<'ours' | 'emmett', Result> = {
  ours: { perSecond: 0, p50: 0, p99: 0 },
  emmett: { perSecond: 0, p50: 0, p99: 0 },
}
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const name of ['emmett', 'ours'] as const) {
    const result = await race(CONTENDERS[name], round)
    process.stderr.write(
      `round ${round}, ${name}: ${Math.round(result.perSecond)}/s, p50 ${result.p50.toFixed(1)} ms, p99 ${result.p99.toFixed(1)} ms\n`,
    )
    if (result.perSecond > best[name].perSecond) best[name] = result
  }
}
const load = loadavg()
  .map((n) => n.toFixed(1))
  .join(' ')
const round1 = (n: number): number => Math.round(n * 10) / 10
const ratio = Math.round((best.ours.perSecond / best.emmett.perSecond) * 100) / 100
process.exitCode = printReport(
  {
    bench: 'events',
    machine: `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, load ${load}`,
    rows: [
      {
        work: 'appends, 50 streams',
        unit: '/s',
        peer: 'Emmett 0.42.0',
        peerValue: Math.round(best.emmett.perSecond),
        ours: Math.round(best.ours.perSecond),
        ratio,
        goal: 2,
        more: true,
        pass: ratio >= 2,
      },
      ...(['p50', 'p99'] as const).map((name) => ({
        ...{
          work: `appends, ${name}`,
          unit: 'ms',
          peer: 'Emmett 0.42.0',
          peerValue: round1(best.emmett[name]),
          ours: round1(best.ours[name]),
        },
        ...{ ratio: Math.round((best.ours[name] / best.emmett[name]) * 100) / 100, goal: null, pass: true },
      })),
    ],
  },
  values.json,
)
await emmett.close()
await pool.end()
