import { MigrateError } from '../errors.ts'
import type { Change, Relation } from '../model/change.ts'
import { decodeChange } from './pgoutput/decode-change.ts'
import { at8, int32 } from './pgoutput/tuple.ts'
import type { Piece, RawTransaction } from './raw-transaction.ts'
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
  /** room of what was handed out before */
  readonly #spare = new Map<Relation, TableChanges>()
  readonly #tables = new Map<number, TableChanges>()

  constructor(
    keyColumns: (relation: Relation) => readonly number[],
    mayMove: (relation: Relation) => boolean = () => true,
  ) {
    this.#keyColumns = keyColumns
    this.#mayMove = mayMove
  }

  /**
   * What these transactions do, one segment at a time: the tables of one hold until the next is asked for. Throws
   * STREAM_MALFORMED.
   */
  *compact(transactions: readonly RawTransaction[]): Generator<Segment> {
    this.#tables.clear()
    const touched = new Set<Relation>()
    for (const { pieces } of transactions) {
      for (const piece of pieces) for (let i = piece.from; i < piece.to; i++) yield* this.#take(piece, i, touched)
    }
    yield* this.#close()
    // room that this batch had no use for goes: a bulk load into each of many tables would keep all of it
    for (const relation of this.#spare.keys()) if (!touched.has(relation)) this.#spare.delete(relation)
  }

  *#take(piece: Piece, i: number, touched: Set<Relation>): Generator<Segment> {
    const { bytes, bounds } = piece.block
    const at = bounds[2 * i] as number
    const end = bounds[2 * i + 1] as number
    const kind = at8(bytes, at)
    if (isRow(kind)) {
      const relation = relationAt(piece, at, end)
      const known = this.#tables.get(relation.id)
      // described anew: its columns may be others
      if (known !== undefined && known.relation !== relation) yield* this.#close()
      touched.add(relation)
      if (isTaken(this.#tableOf(relation), bytes, at, end)) return
    } else if (kind !== TRUNCATE) return
    yield* this.#close()
    yield { kind: 'change', change: changeOf(piece, i) }
  }

  #tableOf(relation: Relation): TableChanges {
    const known = this.#tables.get(relation.id)
    if (known !== undefined) return known
    const spare = this.#spare.get(relation)
    spare?.clear()
    const table = spare ?? new TableChanges(relation, this.#keyColumns(relation), this.#mayMove(relation))
    this.#spare.set(relation, table)
    this.#tables.set(relation.id, table)
    return table
  }

  *#close(): Generator<Segment> {
    if (this.#tables.size === 0) return
    yield { kind: 'rows', tables: [...this.#tables.values()] }
    this.#tables.clear()
  }
}

const [INSERT, UPDATE, DELETE, TRUNCATE, NEW, KEY, OLD] = [0x49, 0x55, 0x44, 0x54, 0x4e, 0x4b, 0x4f]

function isRow(kind: number): boolean {
  return kind === INSERT || kind === UPDATE || kind === DELETE
}

function relationAt({ block, relations }: Piece, at: number, end: number): Relation {
  if (at + 6 > end) throw malformed('message too short')
  const id = int32(block.bytes, at + 1) >>> 0
  const relation = relations.get(id)
  if (relation === undefined) throw malformed(`unknown relation ${id}`)
  return relation
}

/** False: this change has to be done by itself. */
function isTaken(table: TableChanges, bytes: Buffer, at: number, end: number): boolean {
  const kind = at8(bytes, at)
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
