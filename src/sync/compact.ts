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
 * Takes all changes of a key together, so that a row that a hundred transactions have updated is written once. TRUNCATE,
 * new keys for rows with TOASTed values that were not sent, and whatever does not fit to what came before ends a segment.
 */
export class Compactor {
  readonly #keyColumns: (relation: Relation) => readonly number[]
  readonly #mayMove: (relation: Relation) => boolean
  /** room of earlier batches, by relation */
  readonly #spare = new Map<Relation, TableChanges[]>()
  #used: TableChanges[] = []
  #segments: Segment[] = []
  readonly #tables = new Map<number, TableChanges>()

  constructor(
    keyColumns: (relation: Relation) => readonly number[],
    mayMove: (relation: Relation) => boolean = () => true,
  ) {
    this.#keyColumns = keyColumns
    this.#mayMove = mayMove
  }

  /** What these transactions do; what the last call has given holds no longer. Throws STREAM_MALFORMED. */
  compact(transactions: readonly RawTransaction[]): readonly Segment[] {
    this.#reset()
    for (const { pieces } of transactions) for (const piece of pieces) this.#take(piece)
    this.#close()
    return this.#segments
  }

  #take(piece: Piece): void {
    for (let i = piece.from; i < piece.to; i++) {
      if (take(piece, i, this)) continue
      this.#close()
      this.#segments.push({ kind: 'change', change: changeOf(piece, i) })
    }
  }

  tableOf(id: number, relations: Relations): TableChanges {
    const known = this.#tables.get(id)
    const relation = relations.get(id)
    if (relation === undefined) throw malformed(`unknown relation ${id}`)
    if (known?.relation === relation) return known
    // the table was described anew: its columns may be others
    if (known !== undefined) this.#close()
    const table = this.#spare.get(relation)?.pop() ?? this.#newTable(relation)
    this.#tables.set(id, table)
    this.#used.push(table)
    return table
  }

  #newTable(relation: Relation): TableChanges {
    return new TableChanges(relation, this.#keyColumns(relation), this.#mayMove(relation))
  }

  #close(): void {
    if (this.#tables.size > 0) this.#segments.push({ kind: 'rows', tables: [...this.#tables.values()] })
    this.#tables.clear()
  }

  #reset(): void {
    this.#segments = []
    this.#tables.clear()
    for (const table of this.#used) {
      table.clear()
      const spare = this.#spare.get(table.relation)
      if (spare === undefined) this.#spare.set(table.relation, [table])
      else spare.push(table)
    }
    this.#used = []
  }
}

const [INSERT, UPDATE, DELETE, TRUNCATE, NEW, KEY, OLD] = [0x49, 0x55, 0x44, 0x54, 0x4e, 0x4b, 0x4f]

/** False: this change has to be done by itself. */
function take(piece: Piece, i: number, tables: Pick<Compactor, 'tableOf'>): boolean {
  const { bytes, bounds } = piece.block
  const at = bounds[2 * i] as number
  const end = bounds[2 * i + 1] as number
  const kind = at8(bytes, at)
  if (kind === TRUNCATE) return false
  if (kind !== INSERT && kind !== UPDATE && kind !== DELETE) return true
  if (at + 6 > end) throw malformed('message too short')
  const table = tables.tableOf(int32(bytes, at + 1) >>> 0, piece.relations)
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
