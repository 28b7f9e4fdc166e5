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

interface Loaded {
  readonly pieces: readonly Piece[]
  readonly size: number
}

/** Pieces that are somewhere else. */
export interface Stored {
  readonly isInFile: boolean
  load(): Loaded
  /** they are not wanted, or no longer */
  forget(): void
}

const NOTHING: Loaded = { pieces: [], size: 0 }

type Fields = Pick<RawTransaction, 'xid' | 'commitLsn' | 'firstLsn' | 'count' | 'notes' | 'bytes' | 'part'> &
  (Loaded | { readonly stored: Stored })

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
  readonly part: Part
  /** what is not in memory yet */
  #stored: Stored | null
  #loaded: Loaded
  #changes: readonly Change[] | null = null

  constructor(fields: Fields) {
    this.xid = fields.xid
    this.commitLsn = fields.commitLsn
    this.firstLsn = fields.firstLsn
    this.count = fields.count
    this.notes = fields.notes
    this.bytes = fields.bytes
    this.part = fields.part
    this.#stored = 'stored' in fields ? fields.stored : null
    this.#loaded = 'stored' in fields ? NOTHING : fields
  }

  /** how many changes are in it */
  get size(): number {
    return this.#load().size
  }

  get pieces(): readonly Piece[] {
    return this.#load().pieces
  }

  /** Bytes that it takes in memory while it waits. */
  get memory(): number {
    return this.#stored?.isInFile === true ? 0 : this.bytes
  }

  /** Those pieces that are in memory. */
  get held(): readonly Piece[] {
    return this.#loaded.pieces
  }

  /** Nobody reads it any more: its room may be used again. */
  release(): void {
    this.#stored?.forget()
    for (const { block } of this.#loaded.pieces) block.release?.()
    this.#stored = null
    this.#loaded = NOTHING
  }

  #load(): Loaded {
    if (this.#stored !== null) this.#loaded = this.#stored.load()
    this.#stored = null
    return this.#loaded
  }

  /** Decoded when first asked for, from a copy of the bytes: what is kept of it holds no more than itself in memory. */
  get changes(): readonly Change[] {
    this.#changes ??= this.#decode()
    return this.#changes
  }

  /** The same without its changes: they are nobody's. */
  withoutChanges(): RawTransaction {
    const { xid, commitLsn, firstLsn, count, notes, bytes, part } = this
    this.release()
    return new RawTransaction({ xid, commitLsn, firstLsn, count, notes, bytes, part, ...NOTHING })
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
