import { Option } from 'commander'
import type { DemoEvents } from '../../fixtures/demo/walk.ts'
import { MigrateError } from '../errors.ts'
import { defineCommand } from './command.ts'
import { reportVerdict } from './demo-verdict.ts'
import { openLiveArea } from './live.ts'
import type { Output } from './output.ts'

export const demo = defineCommand<DemoCommandOptions>({
  name: 'demo',
  summary: 'Take a shop apart on this machine, under load, and count what was lost',
  examples: ['migrate demo', 'migrate demo --json', 'migrate demo --keep'],
  configure: (command) =>
    command
      .option('--small', 'a small shop and short stages')
      .option('--keep', 'leave everything running until ^C')
      // for tests: a run that must be judged wrong, and one that is over soon
      .addOption(new Option('--least-writes <count>', 'acknowledged writes below which it proves nothing').hideHelp())
      .addOption(new Option('--dwell <seconds>', 'how long each stage is watched').hideHelp()),
  async run({ signal, output }, _args, options) {
    const { walk, writeEnvironment } = await import('../../fixtures/demo/walk.ts')
    const { keep, small } = options
    let reported = false
    using live = await openLiveArea(output)
    const { renderDemo } = await import('../ui/demo-view.ts')
    const verdict = await walk({
      size: small === true ? 'small' : 'demo',
      leastWrites: numberOf('--least-writes', options.leastWrites) ?? (small === true ? 1_000 : 5_000),
      writesPerSecond: 150,
      readsPerSecond: 300,
      dwell: numberOf('--dwell', options.dwell) ?? (small === true ? 3 : 7),
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
  readonly leastWrites?: string
  readonly dwell?: string
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
