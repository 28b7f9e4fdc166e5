import { type Change, type Relation, type Row, TextValue, type Transaction, UNCHANGED } from '../model/change.ts'
import type { Lsn } from '../model/lsn.ts'
import type { RowWrite } from './ports.ts'

/** Keys whose due change was left out because a newer one is held; kept from batch to batch. */
export type Skipped = ReadonlyMap<string, { readonly since: number; readonly lsn: Lsn }>

export interface Convergence {
  readonly writes: readonly RowWrite[]
  /** per write: no other change of the key is near, so its comparison counts as a verdict */
  readonly quiet: readonly boolean[]
  readonly skipped: Skipped
  /** a held change was taken early: every open leg has to be revoked with it */
  readonly early: boolean
}

/** A key is left out for at most this long, milliseconds. */
const LONGEST_SKIP = 2_000

/**
 * Dual-write: which rows to make equal to the monolith's now that `due` has waited for its grace and `held` still
 * waits. Only a key's newest known change is written: an older one would undo second legs that already ran.
 * Pure. The transactions must hold no TRUNCATE.
 */
export function converge(
  due: readonly Transaction[],
  held: readonly Transaction[],
  keyColumns: (relation: Relation) => readonly number[],
  before: Skipped,
  now: number,
): Convergence {
  const newer = lastByKey(held, keyColumns)
  const last = lastByKey(due, keyColumns)
  const skipped = new Map(before)
  const writes: RowWrite[] = []
  const quiet: boolean[] = []
  let early = false
  for (const [key, found] of last) {
    const next = newer.get(key)
    const first = skipped.get(key) ?? { since: now, lsn: found.lsn }
    if (next !== undefined && isComplete(next.write) && now - first.since < LONGEST_SKIP) {
      skipped.set(key, first)
      continue
    }
    const takeHeld = next !== undefined && isComplete(next.write)
    if (takeHeld) early = true
    writes.push(takeHeld ? next.write : found.write)
    quiet.push(next === undefined && found.count === 1)
    skipped.delete(key)
  }
  return { writes, quiet, skipped, early }
}

/** Can the write stand alone, without an older row? */
function isComplete(write: RowWrite): boolean {
  return write.op !== 'update'
}

interface Last {
  write: RowWrite
  lsn: Lsn
  count: number
}

function lastByKey(
  transactions: readonly Transaction[],
  keyColumns: (relation: Relation) => readonly number[],
): Map<string, Last> {
  const last = new Map<string, Last>()
  for (const { changes, commitLsn } of transactions) {
    for (const change of changes) {
      if (change.op === 'truncate') continue
      for (const write of writesOf(change, keyColumns(change.relation))) {
        const name = keyName(write)
        const previous = last.get(name)
        last.set(name, {
          write: previous === undefined ? write : overlay(previous.write, write),
          lsn: previous?.lsn ?? commitLsn,
          count: (previous?.count ?? 0) + 1,
        })
      }
    }
  }
  return last
}

function writesOf(change: Exclude<Change, { op: 'truncate' }>, columns: readonly number[]): RowWrite[] {
  const { relation } = change
  const pick = (row: Row): Row => columns.map((column) => row[column] ?? null)
  if (change.op === 'delete') return [{ relation, op: 'delete', key: pick(change.old), row: [] }]
  const key = pick(change.row)
  const op = change.row.includes(UNCHANGED) ? 'update' : 'insert'
  const write: RowWrite = { relation, op, key, row: change.row }
  if (change.op === 'insert' || change.old === null) return [write]
  const old: RowWrite = { relation, op: 'delete', key: pick(change.old), row: [] }
  return keyName(old) === keyName(write) ? [write] : [old, write]
}

/** The newer write with the values that only the older one carries. */
function overlay(older: RowWrite, newer: RowWrite): RowWrite {
  if (newer.op !== 'update' || older.op === 'delete') return newer
  const row = newer.row.map((value, i) => (value === UNCHANGED ? (older.row[i] ?? value) : value))
  return { ...newer, row, op: row.includes(UNCHANGED) ? 'update' : 'insert' }
}

/** A name that is equal for equal keys of one relation. */
function keyName(write: RowWrite): string {
  const parts = write.key.map((value) => {
    if (value === null) return 'null'
    if (value === UNCHANGED) return 'unchanged'
    return value instanceof TextValue ? `t${value.bytes.toString('latin1')}` : `b${value.toString('latin1')}`
  })
  return `${write.relation.id}:${parts.map((part) => `${part.length}:${part}`).join('')}`
}
