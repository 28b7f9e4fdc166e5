import { NOTE, type Relation, type Row, type Transaction } from '../model/change.ts'
import type { Part } from './raw-transaction.ts'

/** A transaction that waits to be written. */
export interface Pending {
  readonly transaction: Transaction & { readonly part?: Part }
  /** when it was received, milliseconds of a monotonic clock */
  readonly receivedAt: number
}

/** When a transaction may be written: at once, or under a hold after its grace. */
export function dueAt({ receivedAt }: Pending, { hold, graceMs }: { hold: boolean; graceMs: number }): number {
  return hold ? receivedAt + graceMs : receivedAt
}

/** How many rows and bytes of whole source transactions one target transaction takes at most. */
export const BATCH_ROWS = 20_000
export const BATCH_BYTES = 4 * 1024 * 1024

/** Was the transaction written by an apply of ours for this very service? Then it is nobody's change. */
export function isOurs(transaction: Transaction, service: string): boolean {
  return transaction.notes.some((note) => note.prefix === NOTE.apply && note.content.split(' ')[0] === service)
}

/** Is the transaction a second leg that `idempotent()` has carried out in this service? */
export function isLeg({ notes }: Transaction, service: string): boolean {
  return notes.some(({ prefix, content }) => prefix === NOTE.leg && content === service)
}

/** The content of a token of a cutover or rollback of this service, or null. */
export function tokenOf(transaction: Transaction, service: string): string | null {
  const note = transaction.notes.find((n) => n.prefix === NOTE.token && n.content.split(' ')[0] === service)
  return note?.content ?? null
}

/** The start token of this pipeline, or null. */
export function startOf(transaction: Transaction, service: string, direction: string) {
  const note = transaction.notes.find((n) => {
    const [who, way] = n.content.split(' ')
    return n.prefix === NOTE.start && who === service && way === direction
  })
  const epoch = note?.content.split(' ')[3]
  return epoch === undefined ? null : { authorityEpoch: Number(epoch) }
}

/** How many of the first pending transactions make the next batch. A token of ours, and a part of a big one, go alone. */
export function batchLength(queue: readonly Pending[], isDue: (pending: Pending) => boolean): number {
  let rows = 0
  let bytes = 0
  for (let index = 0; index < queue.length; index++) {
    const pending = queue[index] as Pending
    const { transaction } = pending
    if (!isDue(pending)) return index
    if (hasToken(transaction) || isPart(transaction)) return Math.max(index, 1)
    rows += transaction.size
    bytes += transaction.bytes
    if (index > 0 && (rows > BATCH_ROWS || bytes > BATCH_BYTES)) return index
  }
  return queue.length
}

function isPart({ part = 'whole' }: Pending['transaction']): boolean {
  return part !== 'whole'
}

function hasToken(transaction: Transaction): boolean {
  return transaction.notes.some((note) => note.prefix === NOTE.token || note.prefix === NOTE.start)
}

/** The rows that a transaction speaks of: both keys of an update that changes the key. */
export function touchedKeys(
  transactions: readonly Transaction[],
  keyColumns: (relation: Relation) => readonly number[],
): { relation: Relation; key: Row }[] {
  const keys: { relation: Relation; key: Row }[] = []
  for (const { changes } of transactions) {
    for (const change of changes) {
      if (change.op === 'truncate') continue
      const columns = keyColumns(change.relation)
      const pick = (row: Row): Row => columns.map((column) => row[column] ?? null)
      if (change.op !== 'delete') keys.push({ relation: change.relation, key: pick(change.row) })
      if (change.op !== 'insert' && change.old !== null) keys.push({ relation: change.relation, key: pick(change.old) })
    }
  }
  return keys
}
