import { MigrateError } from '../errors.ts'
import type { ServiceReport } from '../reconcile/report.ts'
import type { CommandContext } from './command.ts'
import { defineCommand } from './command.ts'
import { durationOf } from './duration.ts'
import { issuesOf, rangeLine, reportText, summary } from './reconcile-text.ts'

interface ReconcileCommandOptions {
  readonly cron?: string
  readonly tables?: string
  readonly strict?: true
  readonly offline?: true
  readonly budget?: string
}

export const reconcile = defineCommand<ReconcileCommandOptions>({
  name: 'reconcile',
  summary: 'Compare a service with the monolith row by row, also while writes flow',
  examples: [
    'migrate reconcile users',
    "migrate reconcile --cron '*/5 * * * *'",
    'migrate reconcile users --tables users,user_preferences --strict --budget 10m',
  ],
  configure: (command) =>
    command
      .argument('[service]', 'only this service; default: every service that has a copy')
      .option('--cron <pattern>', 'go on until ^C, comparing at these times (minute hour day month weekday)')
      .option('--tables <names>', 'only these tables, separated by commas')
      .option('--strict', 'hash every row with two seeds instead of one')
      .option('--offline', 'needs no sync worker: for systems that nobody writes to')
      .option('--budget <time>', 'stop looking after this time, go on there the next time (default: 4m)'),
  async run(context, [only], options) {
    if (options.cron === undefined) return await once(context, only, options)
    const { parseCron, runAt } = await import('../app/schedule.ts')
    const { output, signal } = context
    const schedule = {
      times: parseCron(options.cron, 'reconcile'),
      signal,
      onNext: (at: Date) => output.progress({ event: 'next', at: at.toISOString() }, `next run at ${at.toISOString()}`),
      onFailure: ({ code, message, hint }: MigrateError) =>
        output.progress({ event: 'failed', code, message, hint }, `${code}  ${message}`),
    }
    await runAt(schedule, () => once(context, only, options))
  },
})

async function once(
  { signal, output, loadConfig }: CommandContext,
  only: string | undefined,
  options: ReconcileCommandOptions,
) {
  const { openApp } = await import('../app/open.ts')
  const { openAlerts } = await import('../app/alerts.ts')
  const { reconcileServices } = await import('../app/reconcile.ts')
  const budget = durationOf(options.budget, 'reconcile')
  if (only === undefined && options.tables !== undefined) {
    throw new MigrateError('USAGE', { reason: '--tables needs the name of a service', command: 'migrate reconcile' })
  }
  await using app = openApp(await loadConfig(), 'reconcile')
  await using alerts = openAlerts(app, output.note)
  const reports = await reconcileServices(app, only ?? null, {
    tables: (options.tables ?? '')
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
    strict: options.strict === true,
    offline: options.offline === true,
    ...(budget === undefined ? {} : { budget }),
    ...{ signal, alerts },
    onRange: (range) => output.progress({ event: 'range', ...range }, rangeLine(range)),
    onService: (report) =>
      output.progress({ event: 'compared', ...summary(report) }, `compared ${report.service}: ${report.outcome}`),
  })
  const clean = reports.every(({ outcome }) => outcome === 'verified')
  output.result(
    {
      schema: 'migrate.reconcile/1',
      status: clean ? 'ok' : 'findings',
      data: { services: reports },
      issues: reports.flatMap(issuesOf),
      nextSteps: clean ? [] : nextSteps(reports),
    },
    (ansi) => reports.map((report) => reportText(report, ansi)).join('\n'),
  )
}

function nextSteps(reports: readonly ServiceReport[]) {
  return reports
    .filter(({ outcome }) => outcome !== 'verified')
    .map(({ service, outcome }) => ({
      cmd: `migrate reconcile ${service}`,
      why: outcome === 'drift' ? 'again, when the rows named were put right' : 'goes on where this run stopped',
    }))
}
