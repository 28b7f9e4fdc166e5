import type { Block } from './block.ts'

/** With more buffers than this kept, those between the ones in use are looked for: a spooled transaction fills many. */
const MANY = 6

interface Slab {
  readonly bytes: Buffer
  /** number of the last block in it */
  last: number
}

/**
 * Knows which buffers of the stream are done with. Blocks come in order and are done with in order, several lie in one
 * buffer, and the newest buffer is still being filled.
 */
export class SlabKeeper {
  readonly #recycle: (bytes: Buffer) => void
  readonly #numbers = new WeakMap<Block, number>()
  readonly #slabs: Slab[] = []
  #count = 0

  constructor(recycle: (bytes: Buffer) => void) {
    this.#recycle = recycle
  }

  add(block: Block): void {
    this.#count += 1
    this.#numbers.set(block, this.#count)
    const newest = this.#slabs.at(-1)
    if (newest?.bytes === block.bytes) newest.last = this.#count
    else this.#slabs.push({ bytes: block.bytes, last: this.#count })
  }

  /** Nobody reads any block of the stream that is older than the oldest of these; none = of all so far. */
  release(inUse: Iterable<Block>): void {
    let oldest = this.#count + 1
    for (const block of inUse) oldest = Math.min(oldest, this.#numbers.get(block) ?? oldest)
    while (this.#slabs.length > 1 && (this.#slabs[0] as Slab).last < oldest) {
      this.#recycle((this.#slabs.shift() as Slab).bytes)
    }
  }

  get isCrowded(): boolean {
    return this.#slabs.length > MANY
  }

  /** So many are kept that nothing more may be read: small transactions that wait, each in a buffer of its own. */
  get isFull(): boolean {
    return this.#slabs.length > 4 * MANY
  }

  /** As `release`, of all buffers but the newest that none of these blocks lies in: they have to be all that are in use. */
  releaseAllBut(inUse: Iterable<Block>): void {
    const used = new Set<Buffer>()
    for (const { bytes } of inUse) used.add(bytes)
    const newest = this.#slabs.at(-1)
    const kept = this.#slabs.filter((slab) => slab === newest || used.has(slab.bytes))
    for (const slab of this.#slabs) if (!kept.includes(slab)) this.#recycle(slab.bytes)
    this.#slabs.splice(0, this.#slabs.length, ...kept)
  }
}
