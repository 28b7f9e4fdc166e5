import type { Note } from '../model/change.ts'
import { asLsn, type Lsn } from '../model/lsn.ts'
import type { Block } from './block.ts'
import { type Part, type Piece, RawTransaction, type Relations } from './raw-transaction.ts'

/** A transaction that is being received; one object for all of them. */
export class OpenTransaction {
  xid = 0
  /** number of the first message in the current block that is in no piece yet */
  from = 0
  size = 0
  bytes = 0
  notes: readonly Note[] = NONE
  pieces: Piece[] = []
  #parts = 0
  /** where its commit record begins, as two halves: a bigint each time would be garbage */
  #finalHigh = 0
  #finalLow = 0

  /** `finalAt`: where in `bytes` the position of the commit record is. */
  begin(xid: number, bytes: Buffer, finalAt: number, from: number): void {
    this.xid = xid
    this.from = from
    this.#finalHigh = bytes.readUInt32BE(finalAt)
    this.#finalLow = bytes.readUInt32BE(finalAt + 4)
    this.#parts = 0
    this.#clear()
  }

  get finalLsn(): Lsn {
    return asLsn((BigInt(this.#finalHigh) << 32n) | BigInt(this.#finalLow))
  }

  isFinal(bytes: Buffer, at: number): boolean {
    return bytes.readUInt32BE(at) === this.#finalHigh && bytes.readUInt32BE(at + 4) === this.#finalLow
  }

  /** Nothing of it has been handed on, and it says nothing about itself. */
  get isPlain(): boolean {
    return this.#parts === 0 && this.notes.length === 0
  }

  add(bytes: number): void {
    this.size += 1
    this.bytes += bytes
  }

  note(note: Note): void {
    this.notes = [...this.notes, note]
  }

  /** The messages up to this one make a piece. */
  keep(block: Block, to: number, relations: Relations): void {
    if (to > this.from) this.pieces.push({ block, from: this.from, to, relations })
  }

  /** What has come since the last part. */
  take(then: 'more' | 'end', commitLsn: Lsn): RawTransaction {
    this.#parts += 1
    const part: Part = this.#parts === 1 ? (then === 'more' ? 'first' : 'whole') : then === 'more' ? 'middle' : 'last'
    const { xid, notes, bytes, size, pieces } = this
    const count = then === 'end' ? 1 : 0
    this.#clear()
    return new RawTransaction({ xid, commitLsn, firstLsn: commitLsn, count, notes, bytes, part, size, pieces })
  }

  #clear(): void {
    this.notes = NONE
    this.size = 0
    this.bytes = 0
    if (this.pieces.length > 0) this.pieces = []
  }
}

/** One for all: most transactions have none. */
export const NONE: readonly never[] = []
