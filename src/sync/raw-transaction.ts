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

/** A transaction, or a part of a big one, as the bytes that came. */
export class RawTransaction implements Transaction {
  readonly xid: number
  readonly commitLsn: Lsn
  readonly notes: readonly Note[]
  readonly bytes: number
  /** how many changes are in it */
  readonly size: number
  readonly part: Part
  readonly pieces: readonly Piece[]
  #changes: readonly Change[] | null = null

  constructor(fields: Pick<RawTransaction, 'xid' | 'commitLsn' | 'notes' | 'bytes' | 'size' | 'part' | 'pieces'>) {
    this.xid = fields.xid
    this.commitLsn = fields.commitLsn
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
    const { xid, commitLsn, notes, bytes, part } = this
    return new RawTransaction({ xid, commitLsn, notes, bytes, part, size: 0, pieces: [] })
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
