import { MigrateError } from '../errors.ts'
import type { NamedDrift, ServiceReport, TableReport } from '../reconcile/report.ts'
import type { RangeProgress } from '../reconcile/run.ts'
import { type Colors, mark, plain } from '../ui/text.ts'
import type { Issue } from './output.ts'

/** Keys shown of one table; --json names up to 100. */
const SHOWN = 20

export function reportText(report: ServiceReport, ansi: Colors): string {
  const { service, outcome, authority, ranges, rows, seconds } = report
  const words = { verified: 'verified', drift: 'drift', partial: 'not fully verified' }
  const head = mark(outcome === 'verified' ? 'ok' : outcome === 'drift' ? 'failed' : 'waiting', service, ansi)
  const right = authority === 'monolith' ? 'the monolith' : 'the service'
  const lines = [
    `${head}  ${words[outcome]}  ${ansi.dim(`(${right} is right; ${rows} rows in ${ranges} ranges, ${seconds.toFixed(1)} s)`)}`,
    ...report.tables.flatMap((table) => tableLines(report, table, ansi)),
  ]
  return lines.join('\n')
}

/** Every twentieth range, and each that the server refused. */
export function rangeLine({ relation, refused, done, of }: RangeProgress): string {
  if (refused !== null) return `${relation}: the server refused range ${done} of ${of} with SQLSTATE ${refused}`
  return done % 20 === 0 ? `${relation}: ${done} of ${of} ranges` : ''
}

/** A report without its keys, as an event. */
export function summary({ service, outcome, ranges, rows, rechecked, inFlight, seconds }: ServiceReport) {
  return { service, outcome, ranges, rows, rechecked, inFlight, seconds }
}

export function issuesOf(report: ServiceReport): Issue[] {
  const { service, outcome, tables } = report
  if (outcome === 'verified') return []
  const sum = (pick: (table: TableReport) => number): number => tables.reduce((total, table) => total + pick(table), 0)
  const error =
    outcome === 'drift'
      ? new MigrateError('DRIFT_FOUND', {
          service,
          count: sum(({ drift }) => drift.missing + drift.extra + drift.different),
          tables: tables
            .filter((table) => table.outcome === 'drift')
            .map(({ table }) => table)
            .join(', '),
        })
      : new MigrateError('RECONCILE_INCOMPLETE', {
          service,
          open: sum(({ ranges }) => ranges.open),
          unsettled: sum(({ ranges }) => ranges.unsettled),
          failed: sum(({ ranges }) => ranges.failed),
        })
  return [{ code: error.code, severity: 'error', message: error.message, hint: error.hint }]
}

function tableLines(report: ServiceReport, table: TableReport, ansi: Colors): string[] {
  const { ranges, drift, keys, truncated, verifiedThrough, verifiedAge } = table
  const doubtful = [
    ranges.open > 0 ? `${ranges.open} ranges not looked at` : '',
    ranges.unsettled > 0 ? `${ranges.unsettled} ranges with rows in flight` : '',
    ranges.failed > 0 ? `${ranges.failed} ranges failed` : '',
  ].filter((text) => text !== '')
  const counts = (['missing', 'extra', 'different'] as const).filter((kind) => drift[kind] > 0)
  const found = counts.map((kind) => `${drift[kind]} ${kind}`)
  const through = verifiedThrough === null ? '' : `verified through ${verifiedThrough}, ${age(verifiedAge ?? 0)} ago`
  const shown = keys.slice(0, SHOWN)
  const more = truncated || keys.length > SHOWN
  return [
    `  ${table.table}  ${[...found, ...doubtful, through].filter((text) => text !== '').join('; ')}`,
    ...shown.map((key) => `    ${keyLine(report, key, ansi)}`),
    ...(more ? [ansi.dim(`    … all of them: select * from migrate.drift where cleared_at is null`)] : []),
  ]
}

function keyLine(report: ServiceReport, { key, kind, columns, firstSeen }: NamedDrift, ansi: Colors): string {
  const where = { missing: `missing in ${copyOf(report)}`, extra: `extra in ${copyOf(report)}`, different: 'different' }
  const which = columns.length === 0 ? '' : `: ${columns.join(', ')}`
  const since = ansi.dim(`since ${firstSeen.slice(0, 19)}`)
  return plain(`${ansi.red('✖')} ${key.join(' ')}  ${where[kind]}${which}`).concat(`  ${since}`)
}

function copyOf({ authority, service }: ServiceReport): string {
  return authority === 'monolith' ? service : 'the monolith'
}

export function age(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(0)} s`
  if (seconds < 3600) return `${(seconds / 60).toFixed(0)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}
