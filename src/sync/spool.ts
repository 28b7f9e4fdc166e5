import type { Note, Relation } from '../model/change.ts'
import type { Block } from './block.ts'
import type { Message } from './pgoutput/decode.ts'
import { copyBytes, int32 } from './pgoutput/tuple.ts'
import type { SpoolFile } from './ports.ts'

/** A chunk of a spool is kept in memory until it has so many bytes, then in its file. */
const CHUNK_BYTES = 4 * 1024 * 1024
/** The same while the chunks of all open spools have `ROOM_BYTES`. */
const SMALL_CHUNK_BYTES = 256 * 1024
const ROOM_BYTES = 32 * 1024 * 1024

/** What the spools of one stream share. */
export interface SpoolRoom {
  /** buffers for whole chunks that nobody reads any more */
  readonly spare: Buffer[]
  /** bytes of the chunks in memory of the spools that are being written */
  bytes: number
}
/** How many buffers are kept for the next chunks. */
const SPARE = 3
/** before each message: its length and the transaction or subtransaction that it belongs to */
const HEAD = 8

/**
 * The messages of one transaction that the source streams before its end, in memory up to 4 MiB, then in a file. They
 * come back in blocks of about that size, without those of subtransactions that were rolled back.
 */
export class Spool implements Disposable {
  readonly #openFile: () => SpoolFile
  readonly #room: SpoolRoom
  #file: SpoolFile | null = null
  #chunk = Buffer.allocUnsafeSlow(64 * 1024)
  #used = 0
  #isDisposed = false
  readonly #written: number[] = []
  readonly #aborted = new Set<number>()
  readonly #notes: { readonly xid: number; readonly note: Note }[] = []
  readonly #relations: { readonly xid: number; readonly relation: Relation }[] = []

  constructor(openFile: () => SpoolFile, room: SpoolRoom) {
    this.#openFile = openFile
    this.#room = room
    room.bytes += this.#chunk.length
  }

  /** Takes a message of a stream block: its kind, the transaction, and the rest. */
  append(bytes: Buffer, at: number, end: number): void {
    const length = end - at - 4
    this.#reserve(HEAD + length)
    const chunk = this.#chunk
    let out = this.#used
    out = chunk.writeInt32BE(length, out)
    copyBytes(chunk, out, bytes, at + 1, at + 5)
    chunk[out + 4] = bytes[at] as number
    copyBytes(chunk, out + 5, bytes, at + 5, end)
    this.#used += HEAD + length
  }

  /** A message that says something about the whole transaction: it is among the appended ones too. */
  note(xid: number, message: Message): void {
    if (message.kind === 'relation') this.#relations.push({ xid, relation: message.relation })
    if (message.kind === 'note') this.#notes.push({ xid, note: { prefix: message.prefix, content: message.content } })
  }

  get notes(): readonly Note[] {
    return this.#notes.flatMap(({ xid, note }) => (this.#aborted.has(xid) ? [] : [note]))
  }

  get relations(): readonly Relation[] {
    return this.#relations.flatMap(({ xid, relation }) => (this.#aborted.has(xid) ? [] : [relation]))
  }

  abort(subxid: number): void {
    this.#aborted.add(subxid)
  }

  /** The bytes of each block that `blocks` will give; all but the last are in the file. */
  get lengths(): readonly number[] {
    return [...this.#written, this.#used]
  }

  *blocks(): Generator<Block> {
    let offset = 0
    for (const length of this.#written) {
      const bytes = this.#room.spare.pop() ?? Buffer.allocUnsafeSlow(Math.max(length, CHUNK_BYTES))
      const fitting = bytes.length < length ? Buffer.allocUnsafeSlow(length) : bytes
      ;(this.#file as SpoolFile).read(offset, fitting.subarray(0, length))
      yield this.#block(fitting, length)
      offset += length
    }
    yield this.#block(this.#chunk, this.#used)
  }

  #block(bytes: Buffer, length: number): Block {
    let bounds = new Int32Array(1024)
    let count = 0
    for (let at = 0; at < length; ) {
      const size = int32(bytes, at)
      if (!this.#aborted.has(int32(bytes, at + 4) >>> 0)) {
        if (2 * count === bounds.length) bounds = grown(bounds)
        bounds[2 * count] = at + HEAD
        bounds[2 * count + 1] = at + HEAD + size
        count++
      }
      at += HEAD + size
    }
    let released = false
    const release = (): void => {
      // a block may be in several pieces
      if (!released && bytes.length === CHUNK_BYTES && this.#room.spare.length < SPARE) this.#room.spare.push(bytes)
      released = true
    }
    return { bytes, bounds, count, release }
  }

  #reserve(length: number): void {
    const needed = this.#used + length
    if (needed <= this.#chunk.length) return
    const limit = this.#limit()
    if (needed > limit && this.#used > 0) {
      this.#flush()
      return this.#reserve(length)
    }
    const size = Math.max(needed, Math.min(this.#chunk.length * 4, limit))
    const chunk = Buffer.allocUnsafeSlow(size)
    this.#chunk.copy(chunk, 0, 0, this.#used)
    this.#room.bytes += size - this.#chunk.length
    this.#chunk = chunk
  }

  /** Many transactions may be open at once, and each of them has a chunk. */
  #limit(): number {
    const isNarrow = this.#room.bytes - this.#chunk.length + CHUNK_BYTES > ROOM_BYTES
    return isNarrow ? Math.max(SMALL_CHUNK_BYTES, this.#chunk.length) : CHUNK_BYTES
  }

  #flush(): void {
    this.#file ??= this.#openFile()
    this.#file.write(this.#chunk.subarray(0, this.#used))
    this.#written.push(this.#used)
    this.#used = 0
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]()
    this.#file = null
    if (!this.#isDisposed) this.#room.bytes -= this.#chunk.length
    this.#isDisposed = true
  }
}

function grown(bounds: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(bounds.length * 2)
  larger.set(bounds)
  return larger
}
