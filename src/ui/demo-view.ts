import type { Live } from './live.ts'
import { duration, number } from './measure.ts'
import { Rate } from './rate.ts'
import { type Colors, mark, plain } from './text.ts'

/** What the demo does now. */
export interface DemoSnapshot {
  /** what it is at; the story so far stands above */
  readonly now: string
  /** seconds since its beginning, and since `now` began */
  readonly seconds: number
  readonly nowSeconds: number
  /** null before the load runs */
  readonly load: DemoLoad | null
}

export interface DemoLoad {
  readonly writes: number
  readonly reads: number
  readonly readsByService: number
  readonly failed: number
  readonly stale: number
  readonly writesPerSecond: number | null
  readonly readsPerSecond: number | null
}

/** Where the demo is, and the counters of the load, in four lines. */
export function demoView({ now, seconds, nowSeconds, load }: DemoSnapshot, ansi: Colors): string[] {
  const rate = (perSecond: number | null): string => (perSecond === null ? '' : `  ${number(perSecond)}/s`)
  const bad = (count: number, word: string): string =>
    mark(count === 0 ? 'ok' : 'failed', `${number(count)} ${word}`, ansi)
  const where = mark(
    'waiting',
    `${plain(now)}  ${ansi.dim(`${duration(nowSeconds)}, ${duration(seconds)} in all`)}`,
    ansi,
  )
  if (load === null) return ['', where]
  const share = load.reads === 0 ? 0 : (100 * load.readsByService) / load.reads
  return [
    '',
    where,
    `  writes  ${number(load.writes).padStart(8)}${rate(load.writesPerSecond)}`,
    `  reads   ${number(load.reads).padStart(8)}${rate(load.readsPerSecond)}  ${share.toFixed(0)} % by the service`,
    `  ${bad(load.failed, 'failed')}  ${bad(load.stale, 'stale')}`,
  ]
}

/** As DemoEvents of fixtures/demo/walk.ts. */
export interface DemoRenderer {
  stage(text: string): void
  command(text: string, outcome: string): void
  load(counters: object): void
}

/** The demo on a terminal: its story goes up line by line, its present state stays at the bottom. */
export function renderDemo(live: Live, ansi: Colors, clock: () => number = () => performance.now()): DemoRenderer {
  const started = clock()
  const rates = { writes: new Rate(started), reads: new Rate(started) }
  let now = { text: 'starting', at: started }
  let load: DemoLoad | null = null
  const seconds = (since: number): number => (clock() - since) / 1_000
  const at = (): string => `${String(Math.round(seconds(started))).padStart(4)} s  `
  const begin = (text: string): void => {
    now = { text, at: clock() }
    live.show(() => demoView({ now: now.text, seconds: seconds(started), nowSeconds: seconds(now.at), load }, ansi))
  }
  begin('starting')
  return {
    stage(text) {
      live.line(at() + plain(text))
      begin(text)
    },
    command(text, outcome) {
      live.line(`${at()}$ ${ansi.cyan(plain(text))}`)
      for (const line of plain(outcome).split('\n')) live.line(`          ${line}`)
      begin(`under load, after ${text}`)
    },
    load(counters) {
      const { writes, reads, sides } = counters as Counters
      const [acknowledged, read] = [writes?.acknowledged ?? 0, reads?.acknowledged ?? 0]
      rates.writes.measure(clock(), acknowledged)
      rates.reads.measure(clock(), read)
      load = {
        ...{ writes: acknowledged, reads: read, readsByService: sides?.reads?.['service'] ?? 0 },
        failed: (writes?.failed ?? 0) + (reads?.failed ?? 0),
        stale: reads?.stale ?? 0,
        writesPerSecond: rates.writes.perSecond,
        readsPerSecond: rates.reads.perSecond,
      }
    },
  }
}

/** What the load generator says about once a second. */
interface Counters {
  readonly writes?: { readonly acknowledged: number; readonly failed: number }
  readonly reads?: { readonly acknowledged: number; readonly failed: number; readonly stale: number }
  readonly sides?: { readonly reads?: Readonly<Record<string, number>> }
}
