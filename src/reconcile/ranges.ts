import type { KeyRange, KeyText } from './ports.ts'

/** Half-open ranges between ascending bounds; the first is open below, the last above, so every key is in exactly one. */
export function rangesBetween(bounds: readonly KeyText[]): KeyRange[] {
  return Array.from({ length: bounds.length + 1 }, (_, i) => ({ lo: bounds[i - 1] ?? null, hi: bounds[i] ?? null }))
}

const RANGE_BYTES = 32 * 1024 * 1024
const LARGEST = 100_000
const SMALLEST = 1_000

/** How many rows one statement shall look at: 32 MiB of the table, 1,000 to 100,000 rows. */
export function rangeRowsFor(table: { readonly bytes: number; readonly rows: number }): number {
  // never analyzed: nothing is known about the width of its rows
  if (table.rows <= 0) return table.bytes < RANGE_BYTES ? LARGEST : LARGEST / 10
  const width = Math.max(1, table.bytes / table.rows)
  return Math.round(Math.min(LARGEST, Math.max(SMALLEST, RANGE_BYTES / width)))
}

/** Have the ranges become too large, or so small that they only cost? */
export function isMisshapen(ranges: readonly { readonly rows: number | null }[], rangeRows: number): boolean {
  const known = ranges.flatMap(({ rows }) => (rows === null ? [] : [rows]))
  if (known.some((rows) => rows > 2 * rangeRows)) return true
  const total = known.reduce((sum, rows) => sum + rows, 0)
  return known.length === ranges.length && ranges.length > 8 && total / ranges.length < rangeRows / 8
}
