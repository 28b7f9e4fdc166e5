import { type Change, type Relation, type Row, TextValue, type Transaction, UNCHANGED } from '../model/change.ts'
import type { Lsn } from '../model/lsn.ts'
import type { RowWrite } from './ports.ts'

/** A key that is behind its due changes: since when (monotonic clock), and the first of these changes. */
export interface Owed {
  readonly since: number
  readonly lsn: Lsn
}

/** Keys whose due change was left out because a newer one is held, or found no row; kept from batch to batch. */
export type Skipped = ReadonlyMap<string, Owed>

export interface PlannedWrite {
  /** as in `Skipped` */
  readonly key: string
  readonly write: RowWrite
  /** no other change of the key is near, so its comparison counts as a verdict */
  readonly quiet: boolean
}

export interface Convergence {
  /** at most one a key, in the order of the source's last change of it */
  readonly writes: readonly PlannedWrite[]
  readonly skipped: Skipped
  /** a held change was taken early: every open leg has to be revoked with it */
  readonly early: boolean
}

type RowChange = Exclude<Change, { op: 'truncate' }>
type KeyColumns = (relation: Relation) => readonly number[]

/** A key is left out for at most this long, milliseconds. */
const LONGEST_SKIP = 2_000

/**
 * Dual-write: which rows to make equal to the monolith's now that `due` has waited for its grace and `held` still
 * waits. Only a key's newest known change is written: an older one would undo second legs that already ran.
 * Pure. `due` must hold no barrier.
 */
export function converge(
  due: readonly Transaction[],
  held: readonly Transaction[],
  keyColumns: KeyColumns,
  before: Skipped,
  now: number,
): Convergence {
  const newer = lastByKey(held, keyColumns)
  const skipped = new Map(before)
  const writes: PlannedWrite[] = []
  let early = false
  for (const [key, found] of lastByKey(due, keyColumns)) {
    const next = newer.get(key)
    const owed = skipped.get(key) ?? { since: now, lsn: found.lsn }
    const replacement = next !== undefined && !next.moves && isComplete(next.write) ? next.write : null
    if (replacement !== null && now - owed.since < LONGEST_SKIP) {
      skipped.set(key, owed)
      continue
    }
    if (replacement !== null) early = true
    writes.push({ key, write: replacement ?? found.write, quiet: next === undefined && found.count === 1 })
    skipped.delete(key)
  }
  return { writes, skipped, early }
}

/** What is still owed after `done` was written in source order. */
export function stillOwed(skipped: Skipped, done: readonly Transaction[], keyColumns: KeyColumns): Skipped {
  const settled = lastByKey(done, keyColumns)
  const emptied = done.flatMap(({ changes }) => changes.flatMap((c) => (c.op === 'truncate' ? c.relations : [])))
  const gone = new Set(emptied.map(({ id }) => String(id)))
  return new Map([...skipped].filter(([key]) => !settled.has(key) && !gone.has(key.slice(0, key.indexOf(':')))))
}

/**
 * A change that cannot be reduced to one write a key: TRUNCATE, and a new key for a row whose unchanged TOAST values
 * are known to the target only.
 */
export function isBarrier(change: Change, keyColumns: KeyColumns): boolean {
  if (change.op === 'truncate') return true
  return isMove(change, keyColumns(change.relation)) && change.row.includes(UNCHANGED)
}

/** Is this update one that gives the row another key? */
export function isMove(change: Change, columns: readonly number[]): change is Extract<Change, { op: 'update' }> {
  if (change.op !== 'update' || change.old === null) return false
  return keyText(pick(change.old, columns)) !== keyText(pick(change.row, columns))
}

/** Can the write stand alone, without an older row? */
function isComplete(write: RowWrite): boolean {
  return write.op !== 'update'
}

interface Last {
  write: RowWrite
  lsn: Lsn
  count: number
  /** a later change takes values from the row of this key in the target: it must be up to date by then */
  moves: boolean
}

function lastByKey(transactions: readonly Transaction[], keyColumns: KeyColumns): Map<string, Last> {
  const last = new Map<string, Last>()
  for (const { changes, commitLsn, firstLsn = commitLsn } of transactions) {
    for (const change of changes) {
      if (change.op === 'truncate') continue
      const moves = isBarrier(change, keyColumns)
      for (const write of writesOf(change, keyColumns(change.relation))) {
        const name = keyName(write)
        const previous = last.get(name)
        // last again: a unique value may only be taken after the row that had it has given it up
        last.delete(name)
        last.set(name, {
          write: previous === undefined ? write : overlay(previous.write, write),
          lsn: previous?.lsn ?? firstLsn,
          count: (previous?.count ?? 0) + 1,
          moves: moves || previous?.moves === true,
        })
      }
    }
  }
  return last
}

function writesOf(change: RowChange, columns: readonly number[]): RowWrite[] {
  const { relation } = change
  if (change.op === 'delete') return [{ relation, op: 'delete', key: pick(change.old, columns), row: [] }]
  const key = pick(change.row, columns)
  const op = change.row.includes(UNCHANGED) ? 'update' : 'insert'
  const write: RowWrite = { relation, op, key, row: change.row }
  if (!isMove(change, columns)) return [write]
  return [{ relation, op: 'delete', key: pick(change.old as Row, columns), row: [] }, write]
}

/** The newer write with the values that only the older one carries. */
function overlay(older: RowWrite, newer: RowWrite): RowWrite {
  if (newer.op !== 'update' || older.op === 'delete') return newer
  const row = newer.row.map((value, i) => (value === UNCHANGED ? (older.row[i] ?? null) : value))
  return { ...newer, row, op: row.includes(UNCHANGED) ? 'update' : 'insert' }
}

function pick(row: Row, columns: readonly number[]): Row {
  return columns.map((column) => row[column] ?? null)
}

/** The name under which `Skipped` has the key of a write. */
export function keyName({ relation, key }: RowWrite): string {
  return `${relation.id}:${keyText(key)}`
}

/** A text that is equal for equal keys of one relation. */
export function keyText(key: Row): string {
  const parts = key.map((value) => {
    if (value === null) return 'null'
    if (value === UNCHANGED) return 'unchanged'
    return value instanceof TextValue ? `t${value.bytes.toString('latin1')}` : `b${value.toString('latin1')}`
  })
  return parts.map((part) => `${part.length}:${part}`).join('')
}
