import type { Change, Note, Relation, Transaction } from '../model/change.ts'
import type { Lsn } from '../model/lsn.ts'
import type { Block } from './block.ts'
import { at8 } from './pgoutput/tuple.ts'
import { decodeChange } from './pgoutput/decode-change.ts'

export type Relations = ReadonlyMap<number, Relation>

/** Consecutive messages of one transaction inside a block, with the tables as they were described then. */
export interface Piece {
  readonly block: Block
  /** number of the first message, and of the first one behind */
  readonly from: number
  readonly to: number
  readonly relations: Relations
}

/** Which part of a source transaction: `whole`, or one of several that are written in one transaction of the target. */
export type Part = 'whole' | 'first' | 'middle' | 'last'

type Fields = Omit<RawTransaction, 'changes' | 'withoutChanges'>

/** A transaction, a part of a big one, or several small ones that follow each other, as the bytes that came. */
export class RawTransaction implements Transaction {
  readonly xid: number
  /** of the last, if there are several */
  readonly commitLsn: Lsn
  /** of the first */
  readonly firstLsn: Lsn
  /** how many transactions end with it */
  readonly count: number
  readonly notes: readonly Note[]
  readonly bytes: number
  /** how many changes are in it */
  readonly size: number
  readonly part: Part
  readonly pieces: readonly Piece[]
  #changes: readonly Change[] | null = null

  constructor(fields: Fields) {
    this.xid = fields.xid
    this.commitLsn = fields.commitLsn
    this.firstLsn = fields.firstLsn
    this.count = fields.count
    this.notes = fields.notes
    this.bytes = fields.bytes
    this.size = fields.size
    this.part = fields.part
    this.pieces = fields.pieces
  }

  /** Decoded when first asked for, from a copy of the bytes: what is kept of it holds no more than itself in memory. */
  get changes(): readonly Change[] {
    this.#changes ??= this.#decode()
    return this.#changes
  }

  /** The same without its changes: they are nobody's. */
  withoutChanges(): RawTransaction {
    const { xid, commitLsn, firstLsn, count, notes, bytes, part } = this
    return new RawTransaction({ xid, commitLsn, firstLsn, count, notes, bytes, part, size: 0, pieces: [] })
  }

  #decode(): Change[] {
    const changes: Change[] = []
    for (const { block, from, to, relations } of this.pieces) {
      for (let i = from; i < to; i++) {
        const start = block.bounds[2 * i] as number
        if (!isChange(at8(block.bytes, start))) continue
        changes.push(decodeChange(Buffer.from(block.bytes.subarray(start, block.bounds[2 * i + 1])), relations))
      }
    }
    return changes
  }
}

/** I, U, D or T */
export function isChange(kind: number): boolean {
  return kind === 0x49 || kind === 0x55 || kind === 0x44 || kind === 0x54
}
