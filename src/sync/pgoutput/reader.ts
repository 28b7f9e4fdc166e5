import { MigrateError } from '../../errors.ts'

/** Reads big-endian fields one after the other. Throws STREAM_MALFORMED at the end of the buffer. */
export class Reader {
  readonly #buffer: Buffer
  #at = 0

  constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  char(): string {
    return String.fromCharCode(this.uint8())
  }

  expect(char: string): void {
    if (this.char() !== char) throw malformed(`expected ${char}`)
  }

  oneOf<C extends string>(...chars: readonly C[]): C {
    const found = this.char()
    const match = chars.find((char) => char === found)
    if (match === undefined) throw malformed(`expected one of ${chars.join(', ')}`)
    return match
  }

  uint8(): number {
    return this.#buffer[this.#take(1)] as number
  }

  int16(): number {
    const value = this.#buffer.readInt16BE(this.#take(2))
    if (value < 0) throw malformed('negative count')
    return value
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.#take(4))
  }

  uint32(): number {
    return this.#buffer.readUInt32BE(this.#take(4))
  }

  uint64(): bigint {
    return this.#buffer.readBigUInt64BE(this.#take(8))
  }

  cstring(): string {
    const end = this.#buffer.indexOf(0, this.#at)
    if (end < 0) throw malformed('unterminated string')
    const text = this.#buffer.toString('utf8', this.#at, end)
    this.#at = end + 1
    return text
  }

  /** A view of the next `length` bytes. */
  bytes(length: number): Buffer {
    if (length < 0) throw malformed('negative length')
    const start = this.#take(length)
    return this.#buffer.subarray(start, start + length)
  }

  skip(length: number): void {
    this.#take(length)
  }

  #take(length: number): number {
    const start = this.#at
    if (start + length > this.#buffer.length) throw malformed('message too short')
    this.#at = start + length
    return start
  }
}

function malformed(reason: string): MigrateError {
  return new MigrateError('STREAM_MALFORMED', { reason })
}
