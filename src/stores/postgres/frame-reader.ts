import { MigrateError } from '../../errors.ts'
import { asLsn, type Lsn } from '../../model/lsn.ts'
import type { WalBlock } from '../../sync/ports.ts'

/** What arrives is copied into buffers of this size; a longer message gets one of its own. */
const SLAB_BYTES = 1024 * 1024
/** How many are kept for later. */
const SPARE = 16
/** type, length; then, of a WAL message: 'w', start, end, time */
const ENVELOPE = 5
const WAL_HEAD = 25
const KEEPALIVE = 18
/** PostgreSQL's own limit of a message is 1 GiB. */
const LONGEST = 2 ** 30 + 64

export interface FrameReaderOptions {
  /** a whole protocol message that belongs to no copy: the driver wants it */
  readonly other: (message: Buffer) => void
  /** the server wants to hear of us */
  readonly wanted: () => void
}

/**
 * Takes the replication connection's bytes apart without an object for each message: only where they begin and end is
 * noted. What is given out is not written to before it is given back, unlike the driver's own buffer.
 */
export class FrameReader {
  readonly #options: FrameReaderOptions
  readonly #spare: Buffer[] = []
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #filled = 0
  #parsed = 0
  #bounds = new Int32Array(8192)
  #count = 0
  #walEnd: Lsn | null = null
  /** a block lies in one slab: those of slabs that are full */
  #full: WalBlock[] = []
  #closed = false

  constructor(options: FrameReaderOptions) {
    this.#options = options
  }

  /** Throws STREAM_MALFORMED. */
  push(chunk: Buffer): void {
    for (let from = 0; from < chunk.length; ) {
      if (this.#filled === this.#slab.length) this.#renew()
      const size = Math.min(chunk.length - from, this.#slab.length - this.#filled)
      chunk.copy(this.#slab, this.#filled, from, from + size)
      this.#filled += size
      from += size
      this.#parse()
    }
  }

  /** Keeps nothing of what comes from here on; the driver still gets its messages. */
  close(): void {
    this.#closed = true
  }

  /** Nobody reads anything in this buffer any more. */
  recycle(bytes: Buffer): void {
    if (bytes.length === SLAB_BYTES && this.#spare.length < SPARE) this.#spare.push(bytes)
  }

  /** Everything that has come since the last time, in order. */
  take(): readonly WalBlock[] {
    this.#cut()
    const blocks = this.#full
    this.#full = []
    return blocks
  }

  #cut(): void {
    if (this.#count === 0 && this.#walEnd === null) return
    const bounds = this.#bounds.slice(0, 2 * this.#count)
    this.#full.push({ bytes: this.#slab, bounds, count: this.#count, walEnd: this.#walEnd })
    this.#count = 0
    this.#walEnd = null
  }

  #parse(): void {
    const slab = this.#slab
    while (this.#filled - this.#parsed >= ENVELOPE) {
      const at = this.#parsed
      const length = slab.readUInt32BE(at + 1)
      if (length < 4 || length > LONGEST) throw malformed('an impossible length')
      const end = at + 1 + length
      if (end > this.#filled) return
      this.#parsed = end
      if (slab[at] !== COPY_DATA) this.#options.other(Buffer.from(slab.subarray(at, end)))
      else if (slab[at + ENVELOPE] === WAL_DATA) this.#message(at + ENVELOPE + WAL_HEAD, end)
      else if (slab[at + ENVELOPE] === PRIMARY_KEEPALIVE) this.#keepalive(at + ENVELOPE, end)
      else throw malformed('an unknown replication message')
    }
  }

  #message(at: number, end: number): void {
    if (this.#closed) return
    if (end <= at) throw malformed('message too short')
    if (2 * this.#count === this.#bounds.length) {
      const larger = new Int32Array(this.#bounds.length * 2)
      larger.set(this.#bounds)
      this.#bounds = larger
    }
    this.#bounds[2 * this.#count] = at
    this.#bounds[2 * this.#count + 1] = end
    this.#count += 1
    // what the server said before is behind what it has sent now
    this.#walEnd = null
  }

  #keepalive(at: number, end: number): void {
    if (this.#closed) return
    if (end - at < KEEPALIVE) throw malformed('message too short')
    this.#walEnd = asLsn(this.#slab.readBigUInt64BE(at + 1))
    if (this.#slab[at + 17] === 1) this.#options.wanted()
  }

  /** The rest of a message that has begun in this slab goes with it into the next. */
  #renew(): void {
    this.#cut()
    const rest = this.#slab.subarray(this.#parsed, this.#filled)
    const wanted = rest.length >= ENVELOPE ? 1 + rest.readUInt32BE(1) : 0
    const spare = wanted <= SLAB_BYTES ? this.#spare.pop() : undefined
    this.#slab = spare ?? Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, wanted))
    rest.copy(this.#slab)
    this.#filled = rest.length
    this.#parsed = 0
  }
}

const [COPY_DATA, WAL_DATA, PRIMARY_KEEPALIVE] = [0x64, 0x77, 0x6b]

function malformed(reason: string): MigrateError {
  return new MigrateError('STREAM_MALFORMED', { reason })
}
