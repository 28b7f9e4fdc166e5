import type { KeyTable } from '../../sync/key-table.ts'

/** Keys of one batch that can be told apart in what is left of a double. */
const NUMBERS = 2 ** 20

/**
 * Puts the keys of a batch in the order of their first column, roughly: neighbours in the index are then written one
 * after the other, which saves the target a quarter of the work. Only an order; nothing depends on it.
 */
export function inKeyOrder(keys: KeyTable, numbers: readonly number[]): readonly number[] {
  if (numbers.length > NUMBERS) return numbers
  const values = numbers.map((number) => valueOf(keys, number))
  const least = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  const span = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY) - least || 1
  // a typed array is sorted by number at once, so the place in the batch travels in the low digits
  const order = Float64Array.from(values, (value, i) => Math.floor(((value - least) / span) * SCALE) * NUMBERS + i)
  order.sort()
  return Array.from(order, (value) => numbers[value % NUMBERS] as number)
}

const SCALE = 2 ** 32

/** A number that grows with the first column of a key: an integer as it is, else the first bytes. */
function valueOf({ bytes, starts }: KeyTable, number: number): number {
  const at = starts[number] as number
  const length = bytes.readInt32BE(at)
  if (length === 4) return bytes.readInt32BE(at + 4)
  if (length === 8) return bytes.readInt32BE(at + 4) * 2 ** 32 + bytes.readUInt32BE(at + 8)
  return length <= 0 ? -1 : bytes.readUIntBE(at + 4, Math.min(length, 6)) * 2 ** (8 * (6 - Math.min(length, 6)))
}
