import type pg from 'pg'
import { quantile, type Row } from '../report.ts'
import { type Bed, open, openBed, SERVICE, type Side } from './bed.ts'
import { prepare, subscription } from './contenders.ts'
import { arrived, finish } from './marks.ts'
import { compare, say } from './race.ts'
import { mixed, steadyLoad } from './workloads.ts'

export interface LagOptions {
  readonly rounds: number
  readonly perSecond: number
  readonly seconds: number
  /** arguments of our Node.js */
  readonly node: readonly string[]
}

const BEAT_MS = 20
const LOOK_MS = 1
/** The first beats meet a connection, plans and a just-in-time compiler that are cold. */
const WARM_UP = 50
/** What ours may take more than the peer, milliseconds. */
const MORE_MS = 20

/**
 * How long after it was written a row shows in the target, while small transactions come at a steady rate: a beat every
 * 20 ms, looked for every millisecond. The source has the first processor, together with what loads it.
 */
export async function lag(options: LagOptions): Promise<Row[]> {
  await using bed = await openBed(mixed(0), { cpu: 0 })
  await prepare(bed)
  await bed.onTarget('native', subscription(bed, 'on'))
  const found: Record<Side, number[]> = { native: [], ours: [] }
  let beat = 1
  for (let round = 1; round <= options.rounds; round++) {
    for (const side of ['native', 'ours'] as const) {
      await using worker = await follow(bed, side, options.node)
      // what was written while the other one worked
      await finish(bed, ++beat)
      await arrived(bed, side, beat, worker.process)
      const { lags, next, tps } = await probe(bed, side, beat, options)
      beat = next
      found[side].push(...lags)
      say(`lag: round ${round}, ${side} at ${tps} tx/s: ${described(lags)}`)
    }
  }
  await finish(bed, ++beat)
  for (const side of ['native', 'ours'] as const) {
    await using worker = await follow(bed, side, options.node)
    await arrived(bed, side, beat, worker.process)
  }
  await compare(bed, 'native')
  await compare(bed, 'ours')
  return [row(found, 0.99, options.perSecond), row(found, 0.5, options.perSecond)]
}

async function follow(bed: Bed, side: Side, node: readonly string[]) {
  if (side === 'native') {
    await bed.onTarget('native', 'alter subscription native enable')
    const stop = (): Promise<unknown> => bed.onTarget('native', 'alter subscription native disable')
    return { process: undefined, [Symbol.asyncDispose]: async () => void (await stop()) }
  }
  const process = await bed.migrate(['sync', SERVICE], node)
  return { process, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() }
}

async function probe(bed: Bed, side: Side, from: number, { perSecond, seconds }: LagOptions) {
  const [source, target] = [await open(bed.source.url('bench')), await open(bed.target.url(side))]
  await using load = await steadyLoad(bed, { perSecond, seconds })
  let sent = from
  let written: Promise<unknown> = Promise.resolve()
  const beating = setInterval(() => {
    const beat = { name: 'beat', text: 'insert into marks values ($1)', values: [++sent] }
    written = written.then(() => source.query(beat))
  }, BEAT_MS)
  const ending = load.exited.then(async ({ code }) => {
    clearInterval(beating)
    if (code !== 0) throw new Error(`pgbench ended with ${code}: ${load.stderr.all().slice(-3).join('; ')}`)
    await written
    return sent
  })
  try {
    const lags = await watch(target, from, ending)
    const tps = /tps = (\d+)/.exec(load.stdout.text())?.[1] ?? '?'
    return { lags: lags.slice(WARM_UP), next: sent, tps }
  } finally {
    clearInterval(beating)
    await Promise.all([source.end(), target.end()])
  }
}

/** The lag of every beat behind `from`, until the last one shows. */
async function watch(target: pg.Client, from: number, ending: Promise<number>): Promise<number[]> {
  let [last, seen] = [Number.POSITIVE_INFINITY, from]
  const ended = ending.then((sent) => void (last = sent))
  // looked at below, when the last beat shows or the load has failed
  ended.catch(() => (last = 0))
  const lags: number[] = []
  // both servers read the clock of one machine
  const text = `select id, (extract(epoch from clock_timestamp() - at) * 1000)::float8 as ms from marks where id > $1
    order by id`
  while (seen < last) {
    const { rows } = await target.query<{ id: number; ms: number }>({ name: 'look', text, values: [seen] })
    lags.push(...rows.map(({ ms }) => ms))
    seen = rows.at(-1)?.id ?? seen
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  await ended
  return lags
}

function row(found: Record<Side, number[]>, share: number, perSecond: number): Row {
  const [ours, peerValue] = [tenths(quantile(found.ours, share)), tenths(quantile(found.native, share))]
  const goal = share === 0.99 ? tenths(peerValue + MORE_MS) : null
  return {
    work: `lag p${share * 100} at ${perSecond} tx/s${goal === null ? '' : `, peer + ${MORE_MS} ms`}`,
    ...{ unit: 'ms', peer: 'native', peerValue, ours, ratio: Math.round((ours / peerValue) * 100) / 100, goal },
    pass: goal === null || ours <= goal,
  }
}

function described(lags: readonly number[]): string {
  const at = (share: number): string => quantile(lags, share).toFixed(1)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms of ${lags.length}`
}

const tenths = (value: number): number => Math.round(value * 10) / 10
