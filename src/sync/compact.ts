import { MigrateError } from '../errors.ts'
import type { Change, Relation } from '../model/change.ts'
import { decodeChange } from './pgoutput/decode-change.ts'
import { at8, int32 } from './pgoutput/tuple.ts'
import { type Piece, type RawTransaction, type Relations } from './raw-transaction.ts'
import { TableChanges } from './table-changes.ts'

/** What to write, in this order; the tables of one segment in any order. */
export type Segment =
  | { readonly kind: 'rows'; readonly tables: readonly TableChanges[] }
  /** a change that has to be done by itself: the order matters */
  | { readonly kind: 'change'; readonly change: Change }

/**
 * Takes all changes of a key together, so that a row that a hundred transactions have updated is written once. Pure.
 * TRUNCATE, new keys for rows with TOASTed values that were not sent, and whatever does not fit to what came before
 * ends a segment. Throws STREAM_MALFORMED.
 */
export function compact(
  transactions: readonly RawTransaction[],
  keyColumns: (relation: Relation) => readonly number[],
): Segment[] {
  const segments: Segment[] = []
  let tables = new Map<number, TableChanges>()
  const close = (): void => {
    if (tables.size > 0) segments.push({ kind: 'rows', tables: [...tables.values()] })
    tables = new Map()
  }
  const tableOf = (id: number, relations: Relations): TableChanges => {
    const known = tables.get(id)
    const relation = relations.get(id)
    if (relation === undefined) throw malformed(`unknown relation ${id}`)
    if (known !== undefined && known.relation === relation) return known
    // the table was described anew: its columns may be others
    if (known !== undefined) close()
    const table = new TableChanges(relation, keyColumns(relation))
    tables.set(id, table)
    return table
  }
  for (const { pieces } of transactions) {
    for (const piece of pieces) {
      for (let i = piece.from; i < piece.to; i++) {
        if (take(piece, i, tableOf)) continue
        close()
        segments.push({ kind: 'change', change: changeOf(piece, i) })
      }
    }
  }
  close()
  return segments
}

const [INSERT, UPDATE, DELETE, TRUNCATE, NEW, KEY, OLD] = [0x49, 0x55, 0x44, 0x54, 0x4e, 0x4b, 0x4f]

/** False: this change has to be done by itself. */
function take(piece: Piece, i: number, tableOf: (id: number, relations: Relations) => TableChanges): boolean {
  const { bytes, bounds } = piece.block
  const at = bounds[2 * i] as number
  const end = bounds[2 * i + 1] as number
  const kind = at8(bytes, at)
  if (kind === TRUNCATE) return false
  if (kind !== INSERT && kind !== UPDATE && kind !== DELETE) return true
  if (at + 6 > end) throw malformed('message too short')
  const table = tableOf(int32(bytes, at + 1) >>> 0, piece.relations)
  const what = at8(bytes, at + 5)
  if (kind === INSERT && what === NEW) return table.insert(bytes, at + 6, end)
  if (kind === UPDATE && what === NEW) return table.update(bytes, null, at + 6, end)
  if (kind === UPDATE && (what === KEY || what === OLD)) return table.update(bytes, at + 6, 0, end)
  if (kind === DELETE && (what === KEY || what === OLD)) return table.delete(bytes, at + 6, end)
  throw malformed('expected a row')
}

function changeOf({ block, relations }: Piece, i: number): Change {
  return decodeChange(Buffer.from(block.bytes.subarray(block.bounds[2 * i], block.bounds[2 * i + 1])), relations)
}

function malformed(reason: string): MigrateError {
  return new MigrateError('STREAM_MALFORMED', { reason })
}
