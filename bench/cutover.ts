// How long a cutover and a rollback keep writers waiting, as clients behind the router see it: the longest time without
// an acknowledged write of the service around each move. `npm run bench:cutover`, with `-- --json` for the last line.
// The peer is what PostgreSQL itself offers: lock the tables, wait for the subscription to catch up, set the sequences.
// It verifies nothing, has no way back, and its writers then go on where they were: a floor, not a cutover.
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Shop, startShop } from '../fixtures/demo/shop.ts'
import { outages, type Window } from '../fixtures/load/outage.ts'
import { rates } from '../fixtures/load/rates.ts'
import { readLedger } from '../fixtures/load/read-ledger.ts'
import { dropCrossingForeignKeys } from '../fixtures/monolith/database.ts'
import { pin } from '../fixtures/servers/pin.ts'
import { connected, startPeer } from './cutover-peer.ts'
import { failedIn, printReport, quantile, type Row } from './report.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '20' },
    writes: { type: 'string', default: '500' },
    pinned: { type: 'boolean', default: false },
  },
})
const ROUNDS = Number(values.rounds)
const KINDS = ['cutover', 'rollback', 'peer'] as const
type Kind = (typeof KINDS)[number]
/** Around a move that is measured: what was held is answered by then. */
const AFTER_MS = 400

if (values.pinned) process.exitCode = await bench()
else process.exitCode = again()

/** This program bound to the second processor, with all that it starts; only the monolith's server has the first. */
function again(): number {
  const [command, args] = pin(process.execPath, [import.meta.filename, '--pinned', ...process.argv.slice(2)], 1)
  return spawnSync(command, args, { stdio: 'inherit' }).status ?? 1
}

async function bench(): Promise<number> {
  await using shop = await startShop({ size: 'small', pinned: true })
  await connected(shop.monolith.superuser, (client) => dropCrossingForeignKeys(client, 'users'))
  await shop.startSync()
  await told(shop, ['route', 'set', 'users', '--percent', '25'])
  const router = await shop.startRouter()
  await told(shop, ['dual-write', 'users'])
  await using peer = await startPeer(shop)
  const ledger = join(tmpdir(), `migrate-bench-${process.pid}.ndjson`)
  const load = await shop.startLoad([
    ...['--target', router.url, '--ledger', ledger, '--clients', '48', '--seed', '3', '--users', '1-400'],
    ...['--writes', values.writes, '--reads', '50'],
  ])
  await sleep(5_000)
  const windows: Record<Kind, Window[]> = { cutover: [], rollback: [], peer: [] }
  const steps = new Map<string, number[]>()
  for (let round = 1; round <= ROUNDS; round++) {
    for (const kind of KINDS) {
      const from = Date.now()
      if (kind === 'peer') await peer.cutover()
      else note(steps, kind, await told(shop, [kind, 'users']))
      await sleep(AFTER_MS)
      windows[kind].push({ from, to: Date.now() })
    }
    process.stderr.write(`round ${round} of ${ROUNDS}\n`)
  }
  await load.stop('SIGTERM')
  const [cutover, rollback, floor] = await Promise.all(KINDS.map((kind) => outages(ledger, windows[kind], 'users')))
  const { requests } = await readLedger(ledger)
  const { writesPerSecond } = await rates(ledger)
  rmSync(ledger)
  const gaps = { cutover: cutover?.gaps ?? [], rollback: rollback?.gaps ?? [], peer: floor?.gaps ?? [] }
  const failed = failedIn(requests, [...windows.cutover, ...windows.rollback])
  for (const { kind, at, end, status, side, entity } of failed) {
    const into =
      at -
      ([...windows.cutover, ...windows.rollback].find(({ from, to }) => at <= to && (end ?? to) >= from)?.from ?? at)
    process.stdout.write(
      `failed: ${kind} ${entity}, status ${status} by ${side}, ${into} ms into its move, after ${(end ?? at) - at} ms\n`,
    )
  }
  for (const [step, times] of steps) {
    process.stdout.write(`${step.padEnd(26)} p50 ${quantile(times, 0.5)} ms, max ${quantile(times, 1)} ms\n`)
  }
  const machine = `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, load ${loadavg()
    .map((n) => n.toFixed(1))
    .join(' ')}`
  return printReport(
    { bench: 'cutover', machine: `${machine}; ${writesPerSecond} writes/s reached`, rows: rowsOf(gaps, failed.length) },
    values.json,
  )
}

function rowsOf(gaps: Record<Kind, number[]>, failed: number): Row[] {
  const peer = 'lock tables, drain, set sequences'
  const row = (kind: 'cutover' | 'rollback', name: string, at: number, goal: number | null): Row => {
    const [ours, peerValue] = [quantile(gaps[kind], at), quantile(gaps.peer, at)]
    const ratio = Math.round((ours / peerValue) * 100) / 100
    return {
      work: `write outage of a ${kind}, ${name} of ${gaps[kind].length}`,
      unit: 'ms',
      peer,
      peerValue,
      ours,
      ratio,
      goal,
      pass: goal === null || ours < goal,
    }
  }
  return [
    row('cutover', 'p50', 0.5, 250),
    row('cutover', 'p99', 0.99, 1_000),
    row('cutover', 'max', 1, null),
    row('rollback', 'p50', 0.5, 250),
    row('rollback', 'p99', 0.99, 1_000),
    row('rollback', 'max', 1, null),
    {
      work: 'failed requests around the moves',
      unit: 'requests',
      peer: null,
      peerValue: null,
      ours: failed,
      ratio: null,
      goal: 1,
      pass: failed === 0,
    },
  ]
}

async function told(shop: Shop, args: readonly string[]): Promise<string> {
  const run = await shop.cli(args)
  if (run.code !== 0)
    throw new Error(`migrate ${args.join(' ')} ended with ${run.code ?? run.signal}: ${run.stdout}${run.stderr}`)
  return run.stdout
}

/** What each step of a move took. */
function note(steps: Map<string, number[]>, kind: Kind, stdout: string): void {
  for (const line of stdout
    .split('\n')
    .filter((text) => text.includes('"event":"step"') && text.includes('"state":"end"'))) {
    const { step, milliseconds } = JSON.parse(line) as { step: string; milliseconds: number }
    const name = `${kind} ${step}`
    steps.set(name, [...(steps.get(name) ?? []), milliseconds])
  }
}
