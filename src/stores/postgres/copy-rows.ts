import { at8, COLUMN, copyBytes, int32 } from '../../sync/pgoutput/tuple.ts'
import type { KeyTable } from '../../sync/key-table.ts'

const SIGNATURE = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)])
const CHUNK_BYTES = 128 * 1024
/** How many chunks are kept for the next rows. */
const SPARE = 64

/**
 * Builds rows in the binary format of COPY. A column of pgoutput in binary form is the same `int32 length, bytes` behind
 * a byte for its kind, so nothing is decoded. Source: PostgreSQL documentation, COPY, "Binary Format".
 */
export class CopyRows {
  readonly #spare: Buffer[]
  readonly #whole: Buffer[] = []
  readonly #chunks: Buffer[] = []
  #chunk: Buffer
  #used: number

  /** `spare`: buffers of earlier rows, which are used again. */
  constructor(spare: Buffer[]) {
    this.#spare = spare
    this.#chunk = this.#allocate(0)
    this.#used = SIGNATURE.copy(this.#chunk)
  }

  /** The columns of a tuple that were sent; all are in binary form. `end` is behind it. */
  tuple(bytes: Buffer, at: number, end: number, unchanged: number): void {
    const columns = ((at8(bytes, at) << 8) | at8(bytes, at + 1)) - unchanged
    // a NULL takes three bytes more than there
    this.#reserve(2 + (end - at) + 4 * columns)
    const chunk = this.#chunk
    let out = this.#used
    chunk[out++] = columns >> 8
    chunk[out++] = columns & 0xff
    for (let p = at + 2; p < end; ) {
      const kind = at8(bytes, p++)
      if (kind === COLUMN.binary) {
        const length = 4 + int32(bytes, p)
        copyBytes(chunk, out, bytes, p, p + length)
        out += length
        p += length
      } else if (kind === COLUMN.null) {
        chunk.fill(0xff, out, out + 4)
        out += 4
      }
    }
    this.#used = out
  }

  /** The columns of a key, as the table keeps them. */
  key(keys: KeyTable, number: number, columns: number): void {
    const from = keys.starts[number] as number
    const to = keys.starts[number + 1] as number
    this.#reserve(2 + to - from)
    this.#used = this.#chunk.writeInt16BE(columns, this.#used)
    this.#used += keys.bytes.copy(this.#chunk, this.#used, from, to)
  }

  end(): readonly Buffer[] {
    this.#reserve(2)
    this.#used = this.#chunk.writeInt16BE(-1, this.#used)
    this.#chunks.push(this.#chunk.subarray(0, this.#used))
    return this.#chunks
  }

  /** The chunks have been sent, and nobody reads them any more. */
  release(): void {
    for (const chunk of this.#whole) {
      if (chunk.length === CHUNK_BYTES && this.#spare.length < SPARE) this.#spare.push(chunk)
    }
    this.#whole.length = 0
  }

  #allocate(length: number): Buffer {
    const spare = length <= CHUNK_BYTES ? this.#spare.pop() : undefined
    const chunk = spare ?? Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, length))
    this.#whole.push(chunk)
    return chunk
  }

  #reserve(length: number): void {
    if (this.#used + length <= this.#chunk.length) return
    if (this.#used > 0) this.#chunks.push(this.#chunk.subarray(0, this.#used))
    this.#chunk = this.#allocate(length)
    this.#used = 0
  }
}
