import type { LockRow, SagaRow, SagaStats } from '../../saga/read.ts'
import { type Colors, plain, table } from '../../ui/text.ts'
import { age } from '../reconcile-text.ts'

export function listText(sagas: readonly SagaRow[], ansi: Colors): string {
  if (sagas.length === 0) return 'no sagas'
  const columns = ['saga', 'definition', 'status', 'step', 'waits for', 'time', 'why']
  const rows = sagas.map((saga) => [
    ...[saga.id, `${line(saga.name)}/${saga.version}`, statusText(saga, ansi), line(saga.step ?? '-')],
    ...[saga.waiting ?? '-', age(saga.seconds), line((saga.lastError ?? saga.failure)?.message ?? '')],
  ])
  return titled(columns, rows, ansi)
}

function statusText({ status, stranded }: Pick<SagaRow, 'status' | 'stranded'>, ansi: Colors): string {
  if (stranded) return ansi.red('STRANDED')
  if (status === 'STUCK') return ansi.red(status)
  return status === 'DONE' ? ansi.green(status) : status === 'COMPENSATING' ? ansi.yellow(status) : status
}

export function locksText(locks: readonly LockRow[], ansi: Colors): string {
  if (locks.length === 0) return 'no saga holds anything'
  const rows = locks.map(({ target, before, saga, name, status, since }) => [
    ...[line(target), before === 0 ? ansi.green('held') : `waiting, ${before} before it`, saga],
    ...[line(name ?? '?'), status ?? 'gone', since],
  ])
  return titled(['target', 'state', 'saga', 'definition', 'status', 'since'], rows, ansi)
}

export function statsText({ sagas, workers }: SagaStats, ansi: Colors): string {
  const rows = sagas.map((row) => [
    ...[`${line(row.name)}/${row.version}`, String(row.running), String(row.waiting), String(row.compensating)],
    ...[red(row.stuck, ansi), red(row.stranded, ansi), String(row.done), String(row.compensated)],
    ...[milliseconds(row.p50), milliseconds(row.p95)],
  ])
  const columns = [
    'definition',
    'running',
    'of them waiting',
    'compensating',
    'stuck',
    'stranded',
    'done',
    'compensated',
    'p50',
    'p95',
  ]
  const living = workers.map((worker) => [
    ...[line(worker.host), worker.startedAt, worker.lease > 0 ? `${worker.lease.toFixed(1)} s left` : ansi.red('over')],
    ...[String(worker.sagas), worker.definitions.map(line).join(', ')],
  ])
  return [
    rows.length === 0 ? 'no sagas in the last hour' : titled(columns, rows, ansi),
    '',
    living.length === 0
      ? ansi.yellow('no process runs sagas')
      : titled(['process', 'since', 'lease', 'sagas', 'definitions'], living, ansi),
  ].join('\n')
}

function red(count: number, ansi: Colors): string {
  return count === 0 ? '0' : ansi.red(String(count))
}

function milliseconds(seconds: number | null): string {
  return seconds === null ? '-' : `${Math.round(seconds * 1_000)} ms`
}

function titled(titles: readonly string[], rows: readonly (readonly string[])[], ansi: Colors): string {
  return table(
    titles.map((title) => ({ title })),
    rows,
    ansi,
  )
}

/** In one line, so that nobody's data looks like ours. */
function line(text: string): string {
  return plain(text).replace(/\s+/g, ' ')
}
