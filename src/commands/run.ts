import type { Failure } from '../app/run.ts'
import type { RunEvents } from '../app/run-parts.ts'
import type { PartEvent } from '../app/supervise.ts'
import { MigrateError } from '../errors.ts'
import type { Stage } from '../model/stage.ts'
import { mark } from '../ui/text.ts'
import { addressOf } from './address.ts'
import { defineCommand } from './command.ts'
import type { Output } from './output.ts'
import { issuesOf, summary } from './reconcile-text.ts'
import { PART_WIDTH, syncLines } from './sync-progress.ts'

interface RunCommandOptions {
  readonly listen?: string
  readonly router: boolean
  /** a cron pattern; false with --no-reconcile */
  readonly reconcile: string | false
}

export const run = defineCommand<RunCommandOptions>({
  name: 'run',
  summary: 'Run everything in one process: sync workers, router, comparisons',
  examples: ['migrate run', 'migrate run --listen 0.0.0.0:8080', "migrate run --no-router --reconcile '0 * * * *'"],
  configure: (command) =>
    command
      .option('--listen <host:port>', 'where the router listens, instead of router.listen of the configuration')
      .option('--no-router', 'routers run elsewhere')
      .option('--reconcile <pattern>', 'when to compare (minute hour day month weekday)', '*/5 * * * *')
      .option('--no-reconcile', 'comparisons run elsewhere'),
  async run({ signal, output, loadConfig }, _args, { listen, router, reconcile }) {
    const { openApp } = await import('../app/open.ts')
    const { openAlerts } = await import('../app/alerts.ts')
    const { runAll } = await import('../app/run.ts')
    const { parseCron } = await import('../app/schedule.ts')
    const at = listen === undefined ? undefined : addressOf(listen, 'run')
    const times = reconcile === false ? null : parseCron(reconcile, 'run')
    const config = await loadConfig()
    await using app = openApp(config, 'run')
    await using alerts = openAlerts(app, output.note)
    const failures = await runAll(app, {
      listen: router ? (at ?? config.router.listen) : null,
      ...{ reconcile: times, alerts, signal, events: eventsOf(output) },
    })
    tellEnd(output, failures)
  },
})

function tellEnd(output: Output, failures: readonly Failure[]): void {
  const issues = failures.map(({ error: { code, message, hint } }) => {
    return { code, severity: 'error' as const, message, hint }
  })
  output.result(
    {
      schema: 'migrate.run/1',
      status: failures.length === 0 ? 'ok' : 'error',
      data: { failed: failures.map(({ part, error }) => ({ part, code: error.code })) },
      issues,
      nextSteps: failures.length === 0 ? [] : [{ cmd: 'migrate run', why: 'again, when that is put right' }],
    },
    (ansi) =>
      failures.length === 0
        ? 'stopped in order'
        : failures
            .map(({ part, error }) => `${mark('failed', part, ansi)}  ${error.code}  ${error.message}`)
            .join('\n'),
  )
  const worst = failures.map(({ error }) => error.exit).sort((a, b) => b - a)[0]
  if (worst !== undefined) output.exit(worst)
}

/** A column with the name of the part, then what it says. */
function eventsOf(output: Output): RunEvents {
  const line = (part: string, text: string): string => (text === '' ? '' : `${part.padEnd(PART_WIDTH)}  ${text}`)
  return {
    part: (part, event) =>
      output.progress({ event: 'part', part, ...partData(event) }, line(part, partText(event, output))),
    stage: (service, stage) =>
      output.progress({ event: 'stage', service, stage }, line(service, stageText(service, stage))),
    listening: ({ address: { url } }, instance) =>
      output.progress({ event: 'listening', url, instance }, line('router', `listening on ${url} as ${instance}`)),
    sync: (service) => syncLines(output, service),
    compared(report) {
      const issues = issuesOf(report)
      const text = issues.map(({ message }) => message).join('; ')
      output.progress(
        { event: 'compared', ...summary(report) },
        line('reconcile', text === '' ? `${report.service}: every row is verified` : text),
      )
    },
    notCompared: ({ code, message, hint }) =>
      output.progress({ event: 'not-compared', code, message, hint }, line('reconcile', `${code}  ${message}`)),
    log: (part, text) => output.progress({ event: 'log', part, text }, line(part, text)),
  }
}

function partData(event: PartEvent): object {
  if (!('error' in event)) return event
  const { code, message, hint } = event.error
  return { state: event.state, code, message, hint }
}

function partText(event: PartEvent, { colors }: Output): string {
  switch (event.state) {
    case 'started':
      return 'started'
    case 'standby':
      return mark('waiting', `standby: ${event.holder} does this since ${event.since}; its death is noticed`, colors)
    case 'restarting':
      return mark('waiting', `${event.error.message}; trying again`, colors)
    case 'failed':
      return `${mark('failed', event.error.code, colors)}  ${event.error.message}\n  Do: ${event.error.hint} The rest goes on.`
    case 'stopped':
      return 'stopped'
    default:
      throw new MigrateError('INTERNAL', { reason: 'unknown event' })
  }
}

/** For the one who has just begun: what makes this process do something for a service. */
function stageText(service: string, stage: Stage): string {
  if (stage !== 'off') return `at stage ${stage}`
  return `at stage off, so nothing runs for it. To begin, in another terminal: migrate sync ${service} --once`
}
