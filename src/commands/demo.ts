import { Option } from 'commander'
import type { Sabotage } from '../../fixtures/demo/saboteur.ts'
import type { Floors } from '../../fixtures/demo/verdict.ts'
import type { PostgresVersion } from '../../fixtures/servers/postgres-binaries.ts'
import type { DemoEvents } from '../../fixtures/demo/walk.ts'
import { MigrateError } from '../errors.ts'
import { defineCommand } from './command.ts'
import { reportVerdict } from './demo-verdict.ts'
import { openLiveArea } from './live.ts'
import type { Output } from './output.ts'

export const demo = defineCommand<DemoCommandOptions>({
  name: 'demo',
  summary: 'Take a shop apart on this machine, under load, and count what was lost',
  examples: ['migrate demo', 'migrate demo --keep', 'migrate demo --small --sabotage lose'],
  configure: (command) =>
    command
      .option('--small', 'a small shop and short stages')
      .addOption(
        new Option('--postgres <version>', 'major version of the servers')
          .choices(['15', '16', '17', '18'])
          .default('18'),
      )
      .addOption(
        new Option(
          '--sabotage <what>',
          'do one thing wrong between the clients and the router: the verdict must find it',
        ).choices(['lose', 'double', 'stale']),
      )
      .option('--keep', 'leave everything running until ^C')
      // for tests: a run that must be judged wrong, and one that is over soon
      .addOption(new Option('--least-writes <count>', 'acknowledged writes below which it proves nothing').hideHelp())
      .addOption(new Option('--moves <count>', 'how many of cutover, rollback, cutover').hideHelp())
      .addOption(new Option('--dwell <seconds>', 'how long each stage is watched').hideHelp()),
  async run({ signal, output }, _args, options) {
    const { walk, writeEnvironment } = await import('../../fixtures/demo/walk.ts')
    const { keep, small } = options
    let reported = false
    using live = await openLiveArea(output)
    const { renderDemo } = await import('../ui/demo-view.ts')
    const verdict = await walk({
      size: small === true ? 'small' : 'demo',
      floors: floorsOf(options),
      sabotage: options.sabotage,
      postgres: options.postgres,
      moves: numberOf('--moves', options.moves) ?? 3,
      writesPerSecond: small === true ? 150 : 250,
      readsPerSecond: small === true ? 300 : 560,
      dwell: numberOf('--dwell', options.dwell) ?? (small === true ? 2 : 6),
      signal,
      events: live === null ? tellEvents(output) : renderDemo(live, output.colors),
      ...(keep === true && {
        keep: async (shop, verdict, ledger) => {
          reportVerdict(output, verdict)
          reported = true
          const file = await writeEnvironment(shop)
          output.note(`Kept, until ^C. Try:\n  migrate -c ${shop.config} --env-file ${file} status\nLedger: ${ledger}`)
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
        },
      }),
    })
    if (!reported) reportVerdict(output, verdict)
  },
})

interface DemoCommandOptions {
  readonly keep?: true
  readonly small?: true
  readonly sabotage?: Sabotage
  readonly postgres: PostgresVersion
  readonly leastWrites?: string
  readonly dwell?: string
  readonly moves?: string
}

/** Below these a run proves nothing; a small one is for those in a hurry. */
function floorsOf({ small, leastWrites, dwell }: DemoCommandOptions): Floors {
  const writes = numberOf('--least-writes', leastWrites)
  const floors =
    small === true
      ? { writes: 1_000, writesPerSecond: 20, readsPerSecond: 40, stageSeconds: 1 }
      : { writes: 10_000, writesPerSecond: 200, readsPerSecond: 400, stageSeconds: 5 }
  return { ...floors, ...(writes !== undefined && { writes }), ...(dwell !== undefined && { stageSeconds: 0 }) }
}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d+(\.\d+)?$/.test(text)) return text === undefined ? undefined : Number(text)
  throw new MigrateError('USAGE', { reason: `${option} takes a number`, command: 'migrate demo' })
}

const COUNTERS_EVERY_MS = 5_000

/** The story as it goes: a column of seconds, then what happens. */
function tellEvents(output: Output): DemoEvents {
  const started = performance.now()
  const at = (): string => `${String(Math.round((performance.now() - started) / 1_000)).padStart(4)} s  `
  let told = Number.NEGATIVE_INFINITY
  return {
    stage: (text) => output.progress({ event: 'stage', text }, at() + text),
    command: (text, outcome) =>
      output.progress(
        { event: 'command', command: text, outcome },
        `${at()}$ ${output.colors.cyan(text)}\n          ${outcome}`,
      ),
    load(counters) {
      if (performance.now() - told < COUNTERS_EVERY_MS) return
      told = performance.now()
      output.progress({ event: 'load', counters }, at() + output.colors.dim(loadLine(counters)))
    },
  }
}

interface LoadCounters {
  readonly writes?: { readonly acknowledged: number; readonly failed: number }
  readonly reads?: { readonly acknowledged: number; readonly failed: number; readonly stale: number }
  readonly sides?: { readonly reads?: Record<string, number> }
}

/** Numbers in columns, so that a change from line to line is seen. */
function loadLine({ writes, reads, sides }: LoadCounters): string {
  const count = (number = 0): string => String(number).padStart(5)
  const failed = (writes?.failed ?? 0) + (reads?.failed ?? 0)
  return (
    `${count(writes?.acknowledged)} writes, ${count(reads?.acknowledged)} reads (${count(sides?.reads?.service)} by the ` +
    `service), ${failed} failed, ${reads?.stale ?? 0} stale`
  )
}
