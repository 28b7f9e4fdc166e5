import { asLsn } from '../model/lsn.ts'
import type { Block } from './block.ts'
import { NONE, type OpenTransaction } from './open-transaction.ts'
import { type Piece, RawTransaction, type Relations } from './raw-transaction.ts'

/** A run that has more is handed on, so that batches can still be cut by size. */
const RUN_BYTES = 64 * 1024

/** Small transactions of one block, one behind the other, taken as one: there is nothing to keep for each of them. */
export class RunOfTransactions {
  #xid = 0
  #count = 0
  #size = 0
  #bytes = 0
  #pieces: Piece[] = []
  #last: { piece: Piece; to: number } | null = null
  #block: Block | null = null
  /** where the end positions of the first and the last commit are in the block */
  #firstAt = 0
  #lastAt = 0

  get isEmpty(): boolean {
    return this.#count === 0
  }

  get isFull(): boolean {
    return this.#bytes >= RUN_BYTES
  }

  /** The open transaction ends before message `to`, whose end position is at `endAt`. */
  add(open: OpenTransaction, block: Block, to: number, endAt: number, relations: Relations): void {
    const last = this.#last
    // between two transactions there are a commit and a begin, which nobody minds
    if (open.pieces.length === 0 && last !== null && last.piece.relations === relations) last.to = to
    else this.#push(open, block, to, relations)
    if (this.#count === 0) this.#firstAt = endAt
    this.#lastAt = endAt
    this.#block = block
    this.#xid = open.xid
    this.#count += 1
    this.#size += open.size
    this.#bytes += open.bytes
  }

  take(): RawTransaction {
    this.cut()
    const { bytes } = this.#block as Block
    const run = new RawTransaction({
      ...{ xid: this.#xid, count: this.#count, size: this.#size, bytes: this.#bytes, pieces: this.#pieces },
      firstLsn: asLsn(bytes.readBigUInt64BE(this.#firstAt)),
      commitLsn: asLsn(bytes.readBigUInt64BE(this.#lastAt)),
      notes: NONE,
      part: 'whole',
    })
    this.#count = 0
    this.#size = 0
    this.#bytes = 0
    this.#pieces = []
    this.#block = null
    return run
  }

  /** What comes next in the block is of no transaction of the run: the next one begins a piece of its own. */
  cut(): void {
    if (this.#last !== null) this.#pieces.push({ ...this.#last.piece, to: this.#last.to })
    this.#last = null
  }

  #push(open: OpenTransaction, block: Block, to: number, relations: Relations): void {
    this.cut()
    this.#pieces.push(...open.pieces)
    if (to > open.from) this.#last = { piece: { block, from: open.from, to, relations }, to }
  }
}
