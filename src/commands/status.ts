import type { StatusSnapshot } from '../app/status.ts'
import { plain } from '../ui/text.ts'
import { MigrateError } from '../errors.ts'
import type { Wait } from '../app/wait.ts'
import { defineCommand } from './command.ts'
import { durationOf } from './duration.ts'
import type { Output } from './output.ts'
import { statusText } from './status-text.ts'

interface StatusCommandOptions {
  readonly watch?: true
  readonly wait?: string
  readonly timeout?: string
}

export const status = defineCommand<StatusCommandOptions>({
  name: 'status',
  summary: 'Show where every service stands',
  examples: ['migrate status', 'migrate status users --watch', 'migrate status users --wait caught-up --timeout 30s'],
  configure: (command) =>
    command
      .argument('[service]', 'only this service')
      .option('-w, --watch', 'go on until ^C; what changes, as it changes')
      .option(
        '--wait <state>',
        'wait until caught-up (the copies have what was committed before) or healthy (workers, slots, routers and rows are as they must be); exit 6 when it is not so in time',
      )
      .option('--timeout <time>', 'how long to wait (default: 60s)'),
  async run(context, [only], options) {
    const { output, signal, loadConfig } = context
    const wait = waitOf(options)
    const { openApp } = await import('../app/open.ts')
    const { readStatus } = await import('../app/status.ts')
    const { serviceOf } = await import('../config/service.ts')
    const config = await loadConfig()
    if (only !== undefined) serviceOf(config, only)
    await using app = openApp(config, 'status')
    if (wait === null && options.watch !== true) return tell(output, await readStatus(app, only ?? null))
    if (wait === null) {
      const { watchStatus } = await import('./status-watch.ts')
      return tell(output, await watchStatus(app, only ?? null, context))
    }
    const { waitUntil } = await import('../app/wait.ts')
    const onMissing = (missing: readonly string[]): void =>
      output.progress({ event: 'waiting', missing }, `waiting: ${missing.map(plain).join('; ')}`)
    tell(output, await waitUntil(app, wait.for, { only: only ?? null, timeout: wait.timeout, signal, onMissing }))
  },
})

function tell(output: Output, snapshot: StatusSnapshot): void {
  const nextSteps = snapshot.services.flatMap(({ service, stage, next }) =>
    next === null ? [] : [{ cmd: next, why: `${service} is at stage ${stage}` }],
  )
  output.result({ schema: 'migrate.status/1', status: 'ok', data: snapshot, nextSteps }, (ansi) =>
    statusText(snapshot, ansi),
  )
}

const DEFAULT_WAIT = 60_000

/** Throws USAGE. */
function waitOf({ watch, wait, timeout }: StatusCommandOptions): { for: Wait; timeout: number } | null {
  const refuse = (reason: string): never => {
    throw new MigrateError('USAGE', { reason, command: 'migrate status' })
  }
  const milliseconds = durationOf(timeout, 'status')
  if (wait === undefined) return timeout === undefined ? null : refuse('--timeout belongs to --wait')
  if (watch === true) return refuse('--watch and --wait exclude each other')
  if (wait !== 'caught-up' && wait !== 'healthy') return refuse('--wait takes caught-up or healthy')
  return { for: wait, timeout: milliseconds ?? DEFAULT_WAIT }
}
