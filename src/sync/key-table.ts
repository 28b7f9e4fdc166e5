import { at8, COLUMN, int32 } from './pgoutput/tuple.ts'

/**
 * Numbers the different keys of a batch from 0 on, by their bytes: open addressing over one buffer, no object a key.
 * A key is kept as its columns' `int32 length, bytes`, which is also how a binary COPY wants it.
 */
export class KeyTable {
  /** the bytes of all keys, one after the other */
  bytes = Buffer.allocUnsafeSlow(1024)
  /** where each key begins in them; the one after the last is where the next key will begin */
  starts = new Int32Array(65)
  count = 0
  #hashes = new Int32Array(64)
  #slots = new Int32Array(128)

  /** The number of the key whose columns' kind bytes are at `columns`; a new one gets the number `count` had before. */
  numberOf(tuple: Uint8Array, columns: Int32Array): number {
    const start = this.starts[this.count] as number
    const end = this.#write(tuple, columns, start)
    const hash = hashOf(this.bytes, start, end)
    const mask = this.#slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const found = (this.#slots[slot] as number) - 1
      if (found < 0) return this.#add(slot, hash, end)
      if (this.#hashes[found] === hash && this.#isSame(found, start, end)) return found
    }
  }

  clear(): void {
    this.count = 0
    this.#slots.fill(0)
  }

  #isSame(number: number, start: number, end: number): boolean {
    const other = this.starts[number] as number
    if ((this.starts[number + 1] as number) - other !== end - start) return false
    const { bytes } = this
    for (let i = start, j = other; i < end; i++, j++) if (bytes[i] !== bytes[j]) return false
    return true
  }

  #write(tuple: Uint8Array, columns: Int32Array, start: number): number {
    let out = start
    for (let i = 0; i < columns.length; i++) {
      const at = columns[i] as number
      const kind = at8(tuple, at)
      const isValue = kind === COLUMN.binary || kind === COLUMN.text
      // length and value stand together, as they are wanted
      const length = isValue ? 4 + int32(tuple, at + 1) : 4
      if (out + length > this.bytes.length) this.#growBytes(out + length)
      const { bytes } = this
      if (isValue) for (let k = 0; k < length; k++) bytes[out + k] = at8(tuple, at + 1 + k)
      else bytes.writeInt32BE(kind === COLUMN.null ? -1 : -2, out)
      out += length
    }
    return out
  }

  #add(slot: number, hash: number, end: number): number {
    const number = this.count++
    if (number + 2 > this.starts.length) this.#growEntries()
    this.starts[number + 1] = end
    this.#hashes[number] = hash
    this.#slots[slot] = number + 1
    if (this.count * 2 > this.#slots.length) this.#rehash()
    return number
  }

  #growBytes(needed: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(grown)
    this.bytes = grown
  }

  #growEntries(): void {
    const starts = new Int32Array(this.starts.length * 2)
    starts.set(this.starts)
    this.starts = starts
    const hashes = new Int32Array(this.#hashes.length * 2 + 1)
    hashes.set(this.#hashes)
    this.#hashes = hashes
  }

  #rehash(): void {
    const slots = new Int32Array(this.#slots.length * 2)
    const mask = slots.length - 1
    for (let number = 0; number < this.count; number++) {
      let slot = (this.#hashes[number] as number) & mask
      while (slots[slot] !== 0) slot = (slot + 1) & mask
      slots[slot] = number + 1
    }
    this.#slots = slots
  }
}

/** FNV-1a, mixed once more: the keys of one table differ in a few low bits only. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ at8(bytes, i), 0x01000193)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  return hash ^ (hash >>> 13)
}
