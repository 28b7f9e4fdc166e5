import type { CheckedSide, CheckReport } from '../app/check.ts'
import type { Finding } from '../stores/postgres/preflight.ts'
import { type Colors, plain } from '../ui/text.ts'
import { defineCommand } from './command.ts'
import type { Issue } from './output.ts'

export const check = defineCommand<{ fixSql?: true }>({
  name: 'check',
  summary: 'Look for everything that could hurt the monolith, and print what removes it',
  examples: [
    'migrate check',
    'migrate check users --json',
    'migrate check users --fix-sql | psql "$ADMIN_DATABASE_URL"',
  ],
  configure: (command) =>
    command
      .argument('[service]', 'only this service')
      .option('--fix-sql', 'print only the SQL that removes what was found, as a script for psql'),
  async run({ output, loadConfig }, [only], { fixSql }) {
    const config = await loadConfig()
    const { CHECK_IDS, checkServices } = await import('../app/check.ts')
    const { fixScript } = await import('../app/fix-script.ts')
    const names = only === undefined ? Object.keys(config.services) : [only]
    const report = await checkServices(config, names)
    const findings = report.sides.flatMap((side) => side.findings)
    const failed = findings.some(({ severity }) => severity === 'error')
    const script = fixScript(report.sides)
    const [first = ''] = names
    output.result(
      {
        schema: 'migrate.check/1',
        status: failed ? 'findings' : 'ok',
        data: { ...report, checks: CHECK_IDS, ...(fixSql === true ? { sql: script } : {}) },
        issues: findings.map(issueOf),
        nextSteps: fixSql === true ? [] : failed ? MEND.map((step) => withService(step, only)) : [begin(first)],
      },
      (ansi) => (fixSql === true ? script : reportText(report, CHECK_IDS.length, ansi)),
    )
  },
})

const MEND = [
  { cmd: 'migrate check --fix-sql > dba.sql', why: 'the SQL of all of it, for whoever runs the databases' },
  { cmd: 'migrate check', why: 'again, when it has run' },
]

function withService(step: { cmd: string; why: string }, service: string | undefined) {
  return service === undefined ? step : { ...step, cmd: step.cmd.replace('migrate check', `migrate check ${service}`) }
}

function begin(service: string) {
  return { cmd: `migrate sync ${service}`, why: 'copy its tables and follow every change' }
}

function issueOf({ check: code, severity, side, message, measured, fix }: Finding): Issue {
  return { code, severity, message: `${side}: ${message} (${measured})`, hint: fix }
}

function reportText(report: CheckReport, checks: number, ansi: Colors): string {
  const count = (wanted: Finding['severity']) =>
    report.sides.flatMap(({ findings }) => findings).filter(({ severity }) => severity === wanted).length
  const [errors, warnings] = [count('error'), count('warning')]
  const verdict =
    errors > 0
      ? `${ansi.red('✖')} not ready: ${errors} error(s), ${warnings} warning(s)`
      : `${ansi.green('✔')} ready to be synced: ${checks} checks, ${warnings} warning(s)`
  return [...report.sides.map((side) => sideText(side, ansi)), verdict].join('\n')
}

function sideText(side: CheckedSide, ansi: Colors): string {
  const server = side.version === '' ? '' : ansi.dim(`  PostgreSQL ${side.version}, as ${plain(side.user)}`)
  const head = `${ansi.bold(plain(side.name))}  ${side.address}${server}`
  if (side.findings.length === 0) return `${head}\n  ${ansi.green('✔')} nothing found\n`
  return `${[head, ...side.findings.map((finding) => findingText(finding, ansi))].join('\n')}\n`
}

function findingText({ check: id, severity, message, measured, why, fix, sql }: Finding, ansi: Colors): string {
  const [symbol, paint] = MARKS[severity]
  const lines = sql.length > 0 ? sql : [fix]
  return [
    `  ${ansi[paint](symbol)} ${severity.padEnd(7)}  ${ansi.bold(id)}  ${plain(message)} ${ansi.dim(`(${plain(measured)})`)}`,
    `      Why: ${why}`,
    ...lines.map((line, at) => `      ${at === 0 ? 'Do: ' : '    '} ${plain(line)}`),
  ].join('\n')
}

const MARKS = { error: ['✖', 'red'], warning: ['⚠', 'yellow'], info: ['ℹ', 'cyan'] } as const
