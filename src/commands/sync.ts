import type { Finding } from '../stores/postgres/preflight.ts'
import { defineCommand } from './command.ts'
import { confirmName } from './confirm.ts'
import { openLiveArea } from './live.ts'
import { personName } from './person.ts'
import { syncCtl } from './sync-ctl.ts'
import { drawSync, syncLines } from './sync-progress.ts'

interface SyncCommandOptions {
  readonly once?: true
  readonly resnapshot?: true
  readonly confirm?: string
}

export const sync = defineCommand<SyncCommandOptions>({
  name: 'sync',
  summary: "Copy a service's tables out of the monolith and follow every change",
  examples: [
    'migrate sync users',
    'migrate sync users --once',
    'migrate sync users --resnapshot --confirm users   # after a lost slot',
  ],
  subcommands: [syncCtl],
  configure: (command) =>
    command
      .argument('<service>', 'name of the service in the configuration')
      .option('--once', 'apply what was committed before the start, then end')
      .option('--resnapshot', 'copy all tables again, in place of the rows that the service has')
      .option('--confirm <service>', 'with --resnapshot: the name of the service, since its rows are replaced'),
  async run({ signal, output, loadConfig }, [name = ''], { once, resnapshot, confirm }) {
    const { openApp } = await import('../app/open.ts')
    const { openAlerts } = await import('../app/alerts.ts')
    const { syncService } = await import('../app/sync.ts')
    await using app = openApp(await loadConfig(), `sync/${name}`)
    if (resnapshot === true) {
      const { requireUnused } = await import('../app/resnapshot.ts')
      await requireUnused(app, name)
      const question = `This replaces all rows that ${name} has of its tables by those of the monolith.`
      await confirmName(output, { name, given: confirm, action: `replacing the rows of ${name}`, question, signal })
    }
    await using alerts = openAlerts(app, output.note)
    using live = await openLiveArea(output)
    const result = await syncService(app, name, {
      once: once === true,
      ...(resnapshot === true && { resnapshot: personName() }),
      ...{ signal, alerts },
      events: live === null ? syncLines(output) : drawSync(live, name, output),
    })
    if (result.kind === 'refused') {
      output.result(
        {
          schema: 'migrate.sync/1',
          status: 'findings',
          data: { service: name, findings: result.findings },
          issues: result.findings.map(({ check, message, fix }) => ({
            code: check,
            severity: 'error',
            message,
            hint: fix,
          })),
          nextSteps: [{ cmd: `migrate sync ${name}`, why: 'again, when the SQL above has run' }],
        },
        (ansi) => findingsText(name, result.findings, ansi.red('✖')),
      )
      return
    }
    const { slot, position, counters } = result
    output.result(
      {
        schema: 'migrate.sync/1',
        status: 'ok',
        data: { service: name, slot, position, counters },
        nextSteps: [
          { cmd: `migrate sync ${name}`, why: 'follow on, until ^C' },
          { cmd: `migrate route set ${name} --percent 25`, why: 'send a quarter of the reads to the service' },
        ],
      },
      (ansi) =>
        [
          `${ansi.green('✔')} ${name} holds what the monolith had committed (${counters.forward.rows} row changes applied)`,
          `  The replication slot ${slot} stays and keeps the monolith's WAL until the next sync. To give it up:`,
          `    select pg_drop_replication_slot('${slot}');   -- in the monolith's database`,
        ].join('\n'),
    )
  },
})

function findingsText(name: string, findings: readonly Finding[], cross: string): string {
  const lines = findings.flatMap(({ check, message, fix }) => [`${cross} ${check}  ${message}`, `    ${fix}`])
  return [`${name} was not synced, nothing has changed: ${findings.length} finding(s)`, ...lines].join('\n')
}
