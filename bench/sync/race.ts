import { writeSync } from 'node:fs'
import type { Row } from '../report.ts'
import { type Bed, openBed, type Side } from './bed.ts'
import { type Contender, contenders, prepare, type Run } from './contenders.ts'
import { finish } from './marks.ts'
import { startMeter } from './meter.ts'
import type { Workload } from './workloads.ts'

export interface RaceOptions {
  readonly rounds: number
  /** what ours may take, as a share of what each peer takes */
  readonly goals: Readonly<Record<string, number>>
  readonly profile: boolean
  readonly node: readonly string[]
  readonly only: readonly string[]
}

/**
 * One log, written once and applied by each contender in turn, `rounds` times; the best of each counts. Throws when the
 * rows of a target are not the source's afterwards: then nothing was measured.
 */
export async function race(workload: Workload, options: RaceOptions): Promise<Row[]> {
  await using bed = await openBed(workload)
  await prepare(bed)
  const started = performance.now()
  await workload.write(bed)
  const end = await finish(bed)
  say(`${workload.name}: ${workload.changes} row changes written in ${seconds((performance.now() - started) / 1_000)}`)
  const wanted = await contents(bed, null)
  let pid: number | undefined
  const all = contenders(bed, end, { node: options.node, onStart: (id) => (pid = id) })
  const racing = all.filter(({ name }) => options.only.length === 0 || options.only.includes(name))
  const best = new Map<string, number>()
  for (let round = 1; round <= options.rounds; round++) {
    for (const contender of racing) {
      await contender.reset()
      pid = undefined
      const meter = options.profile ? await startMeter(bed, contender.side, () => pid) : null
      const run = await contender.run()
      const used = meter === null ? '' : `   ${await meter.stop()}`
      say(`${workload.name}: round ${round}, ${described(contender, run)}${used}`)
      if (contender.side !== null) await compare(bed, contender.side, wanted)
      best.set(contender.name, Math.min(run.seconds, best.get(contender.name) ?? Number.POSITIVE_INFINITY))
    }
  }
  return rowsOf(workload, best, options.goals)
}

function described({ name }: Contender, { seconds: took, following }: Run): string {
  const without = following === undefined ? '' : ` (${seconds(following)} without the start of the program)`
  return `${name} ${seconds(took)}${without}`
}

/** Count and hash of every table; `side` null = of the source. */
async function contents(bed: Bed, side: Side | null): Promise<string> {
  const found: string[] = []
  for (const table of bed.workload.tables) {
    const sql = `select '${table} ' || count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) as is
      from ${table} t`
    const rows = side === null ? (await bed.sql.query<{ is: string }>(sql)).rows : await bed.onTarget(side, sql)
    found.push(String(rows[0]?.is))
  }
  return found.join('\n')
}

export async function compare(bed: Bed, side: Side, wanted?: string): Promise<void> {
  const [source, target] = [wanted ?? (await contents(bed, null)), await contents(bed, side)]
  if (source === target) return
  throw new Error(`the rows of ${side} differ from the source's (table, count, hash):\n${source}\n--\n${target}`)
}

function rowsOf(workload: Workload, best: ReadonlyMap<string, number>, goals: RaceOptions['goals']): Row[] {
  const ours = best.get('ours')
  if (ours === undefined) return []
  const work = `${workload.name} ${workload.changes} changes`
  const peers = [...best].filter(([name]) => name !== 'ours')
  if (peers.length === 0) {
    const none = { peer: null, peerValue: null, ratio: null, goal: null }
    return [{ work, unit: 's', ...none, ours: round(ours), pass: true }]
  }
  return peers.map(([peer, value]) => {
    const share = goals[peer]
    const goal = share === undefined ? null : round(share * value)
    return {
      work: `${work}${share === undefined ? '' : `, ${share} × peer`}`,
      ...{ unit: 's', peer, peerValue: round(value), ours: round(ours), ratio: round(ours / value), goal },
      pass: goal === null || ours <= goal,
    }
  })
}

/** At once, whatever stderr is: the line before a crash counts. */
export function say(line: string): void {
  writeSync(2, `${line}\n`)
}

const round = (value: number): number => Math.round(value * 100) / 100
const seconds = (value: number): string => `${value.toFixed(2)} s`
