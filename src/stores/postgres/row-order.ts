import type { KeyTable } from '../../sync/key-table.ts'

/** Keys of one batch that can be told apart in what is left of a double. */
const NUMBERS = 2 ** 20
const SCALE = 2 ** 32

/**
 * Puts the keys of a batch in the order of their first column, roughly: neighbours in the index are then written one
 * after the other, which saves the target a quarter of the work. Only an order; nothing depends on it.
 */
export function inKeyOrder(keys: KeyTable, numbers: Int32Array): Int32Array {
  const { length } = numbers
  if (length > NUMBERS || length < 2) return numbers
  const values = new Float64Array(length)
  let least = Number.POSITIVE_INFINITY
  let most = Number.NEGATIVE_INFINITY
  for (let i = 0; i < length; i++) {
    const value = valueOf(keys, numbers[i] as number)
    values[i] = value
    if (value < least) least = value
    if (value > most) most = value
  }
  // a typed array is sorted by number at once, so the place in the batch travels in the low digits
  const factor = (SCALE - 1) / (most - least || 1)
  for (let i = 0; i < length; i++) values[i] = Math.floor(((values[i] as number) - least) * factor) * NUMBERS + i
  values.sort()
  const ordered = new Int32Array(length)
  for (let i = 0; i < length; i++) ordered[i] = numbers[(values[i] as number) % NUMBERS] as number
  return ordered
}

/** A number that grows with the first column of a key: an integer as it is, else the first bytes. */
function valueOf({ bytes, starts }: KeyTable, number: number): number {
  const at = starts[number] as number
  const length = bytes.readInt32BE(at)
  if (length === 4) return bytes.readInt32BE(at + 4)
  if (length === 8) return bytes.readInt32BE(at + 4) * 2 ** 32 + bytes.readUInt32BE(at + 8)
  return length <= 0 ? -1 : bytes.readUIntBE(at + 4, Math.min(length, 6)) * 2 ** (8 * (6 - Math.min(length, 6)))
}
