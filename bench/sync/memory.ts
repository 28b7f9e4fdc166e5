import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Row } from '../report.ts'
import { type Bed, open, openBed, SERVICE } from './bed.ts'
import { prepare } from './contenders.ts'
import { arrived, finish } from './marks.ts'
import { compare, say } from './race.ts'
import { bigInsert, mixed, steadyLoad } from './workloads.ts'

export interface MemoryOptions {
  /** of the big transaction */
  readonly rows: number
  /** how long the sink stands still, seconds */
  readonly stall: number
  readonly node: readonly string[]
}

const GOAL_MIB = 250
/** While the sink stands still: small transactions, and one of so many rows, a second. In 60 s more than the goal's bytes. */
const SMALL_PER_SECOND = 2_000
const ROWS_PER_SECOND = 50_000
/** The small ones go on for so long when the sink is free again, seconds. */
const AFTER = 5
const LOOK_MS = 50

/** The most that our worker held at once: with one big transaction, and with a sink that stands still under load. */
export async function memory(options: MemoryOptions): Promise<Row[]> {
  return [await bigTransaction(options), ...(await stalledSink(options))]
}

async function bigTransaction({ rows, node }: MemoryOptions): Promise<Row> {
  await using bed = await openBed(mixed(0))
  await prepare(bed)
  await bed.sql.query(bigInsert(rows))
  await finish(bed)
  const started = performance.now()
  const worker = await bed.migrate(['sync', SERVICE, '--once'], node)
  using peak = watchPeak(worker.pid)
  await bed.ran(Promise.resolve(worker))
  say(`memory: one transaction of ${rows} rows, ${Math.round((performance.now() - started) / 1_000)} s`)
  await compare(bed, 'ours')
  return row(`RSS, one transaction of ${rows} rows`, peak.mebibytes())
}

/** A lock on the target's table: the sink's statement waits as on a server that has stopped, and the WAL sender must not. */
async function stalledSink({ stall, node }: MemoryOptions): Promise<Row[]> {
  await using bed = await openBed(mixed(0), { settings: { wal_sender_timeout: '5s' } })
  await prepare(bed)
  await using worker = await bed.migrate(['sync', SERVICE], node)
  using peak = watchPeak(worker.pid)
  await finish(bed, 2)
  await arrived(bed, 'ours', 2, worker)
  await stallUnderLoad(bed, stall)
  const started = performance.now()
  await finish(bed, 4)
  await arrived(bed, 'ours', 4, worker)
  say(`memory: stalled for ${stall} s, caught up ${Math.round((performance.now() - started) / 1_000)} s after the load`)
  await compare(bed, 'ours')
  const terminated = (await readFile(bed.source.log, 'utf8')).match(/terminating walsender/g)?.length ?? 0
  const none = { peer: null, peerValue: null, ratio: null }
  return [
    row(`RSS, sink stalled for ${stall} s`, peak.mebibytes()),
    {
      work: 'WAL senders ended by their timeout',
      unit: '',
      ...none,
      ours: terminated,
      goal: 1,
      pass: terminated === 0,
    },
  ]
}

async function stallUnderLoad(bed: Bed, stall: number): Promise<void> {
  const locker = await open(bed.target.url('ours'))
  try {
    await locker.query('begin; lock table accounts in access exclusive mode')
    await using load = await steadyLoad(bed, { perSecond: SMALL_PER_SECOND, seconds: stall + AFTER, hasty: true })
    const until = performance.now() + stall * 1_000
    for (let second = 0; second < stall; second++) {
      await bed.sql.query(bigInsert(ROWS_PER_SECOND, second * ROWS_PER_SECOND))
      if (second === 0) await bed.sql.query('insert into marks values (3)')
      await sleep(Math.max(0, until - performance.now() - (stall - second - 1) * 1_000))
    }
    const through = await locker.query('select 1 from marks where id = 3')
    if (through.rowCount !== 0) throw new Error('the sink did not stand still: nothing was measured')
    await locker.query('commit')
    const { code } = await load.exited
    if (code !== 0) throw new Error(`pgbench ended with ${code}: ${load.stderr.all().slice(-3).join('; ')}`)
    const tps = /tps = (\d+)/.exec(load.stdout.text())?.[1] ?? '?'
    say(`memory: ${tps} tx/s and ${stall * ROWS_PER_SECOND} rows of big transactions while the sink stood still`)
  } finally {
    await locker.end()
  }
}

/** The kernel keeps the maximum itself: only what grows between the last look and the end of the process is missed. */
function watchPeak(pid: number) {
  let kibibytes = 0
  const look = (): void => {
    kibibytes = Math.max(kibibytes, peakOf(pid))
  }
  const looking = setInterval(look, LOOK_MS)
  return {
    mebibytes(): number {
      look()
      // a system without /proc would always meet the goal
      if (kibibytes === 0) throw new Error(`/proc/${pid}/status does not tell the peak of memory`)
      return Math.round(kibibytes / 1_024)
    },
    [Symbol.dispose]: () => clearInterval(looking),
  }
}

/** 0 when the process has ended. */
function peakOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

function row(work: string, ours: number): Row {
  const none = { peer: null, peerValue: null, ratio: null }
  return { work, unit: 'MiB', ...none, ours, goal: GOAL_MIB, pass: ours <= GOAL_MIB }
}
