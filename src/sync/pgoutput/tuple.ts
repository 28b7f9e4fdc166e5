import { MigrateError } from '../../errors.ts'

/** How a column of a pgoutput tuple is sent: the byte before its value. */
export const COLUMN = { null: 0x6e, unchanged: 0x75, binary: 0x62, text: 0x74 } as const

/**
 * Walks over the columns of a tuple in place: no string, no view, no object is made for a column. Keeps what the last
 * `scan` found. Source: PostgreSQL documentation, "Logical Replication Message Formats", TupleData.
 */
export class TupleScanner {
  /** first byte behind the tuple */
  end = 0
  /** columns that were not sent because their TOASTed value is unchanged */
  unchanged = 0
  /** columns that came as text: their type has no binary form */
  texts = 0
  /** where the kind byte of each key column is, in the order of the key */
  readonly keyAt: Int32Array
  readonly #columns: number
  /** for each column its place in the key + 1, or 0 */
  readonly #keyPlace: Uint8Array

  constructor(columns: number, keyColumns: readonly number[]) {
    this.#columns = columns
    this.keyAt = new Int32Array(keyColumns.length)
    this.#keyPlace = new Uint8Array(columns)
    for (const [place, column] of keyColumns.entries()) this.#keyPlace[column] = place + 1
  }

  /** Throws STREAM_MALFORMED unless a tuple with all columns lies between `at` and `end`. */
  scan(bytes: Uint8Array, at: number, end: number): void {
    const columns = this.#columns
    if (at + 2 > end || ((at8(bytes, at) << 8) | at8(bytes, at + 1)) !== columns) throw malformed('columns')
    let p = at + 2
    let unchanged = 0
    let texts = 0
    for (let i = 0; i < columns; i++) {
      const place = at8(this.#keyPlace, i)
      if (place !== 0) this.keyAt[place - 1] = p
      const next = columnEnd(bytes, p, end)
      const kind = at8(bytes, p)
      if (kind === COLUMN.unchanged) unchanged++
      else if (kind === COLUMN.text) texts++
      p = next
    }
    this.end = p
    this.unchanged = unchanged
    this.texts = texts
  }
}

/** First byte behind the column at `p`. Throws STREAM_MALFORMED when it would lie beyond `end`. */
function columnEnd(bytes: Uint8Array, p: number, end: number): number {
  if (p >= end) throw malformed('message too short')
  const kind = at8(bytes, p)
  if (kind === COLUMN.null || kind === COLUMN.unchanged) return p + 1
  if (kind !== COLUMN.binary && kind !== COLUMN.text) throw malformed('an unknown kind of value')
  if (p + 5 > end) throw malformed('message too short')
  const length = int32(bytes, p + 1)
  if (length < 0 || length > end - p - 5) throw malformed('message too short')
  return p + 5 + length
}

/**
 * The tuple at `at` with the columns that were not sent taken from another tuple of the same relation, where that one
 * has a value. Both must have been scanned.
 */
export function overlay(
  newer: { readonly bytes: Uint8Array; readonly at: number; readonly end: number },
  older: { readonly bytes: Uint8Array; readonly at: number; readonly end: number },
): Buffer {
  const merged = Buffer.allocUnsafe(newer.end - newer.at + (older.end - older.at))
  const columns = (at8(newer.bytes, newer.at) << 8) | at8(newer.bytes, newer.at + 1)
  merged[0] = columns >> 8
  merged[1] = columns & 0xff
  let out = 2
  let p = newer.at + 2
  let q = older.at + 2
  for (let i = 0; i < columns; i++) {
    const nextP = columnEnd(newer.bytes, p, newer.end)
    const nextQ = columnEnd(older.bytes, q, older.end)
    // NULL in an old key means "not part of the key", so it is never taken
    const take = at8(newer.bytes, p) === COLUMN.unchanged && at8(older.bytes, q) !== COLUMN.null
    const [bytes, from, to] = take ? [older.bytes, q, nextQ] : [newer.bytes, p, nextP]
    merged.set(bytes.subarray(from, to), out)
    out += to - from
    p = nextP
    q = nextQ
  }
  return merged.subarray(0, out)
}

/** Indexes of the columns that a scanned tuple does not carry. */
export function unchangedColumns(bytes: Uint8Array, at: number, end: number): number[] {
  const columns = (at8(bytes, at) << 8) | at8(bytes, at + 1)
  const found: number[] = []
  for (let i = 0, p = at + 2; i < columns; i++) {
    if (at8(bytes, p) === COLUMN.unchanged) found.push(i)
    p = columnEnd(bytes, p, end)
  }
  return found
}

export function int32(bytes: Uint8Array, at: number): number {
  return (at8(bytes, at) << 24) | (at8(bytes, at + 1) << 16) | (at8(bytes, at + 2) << 8) | at8(bytes, at + 3)
}

/** Copies `bytes` from `from` to `to`. Few of them by a loop: Buffer.copy makes an object for each call. */
export function copyBytes(into: Buffer, at: number, bytes: Buffer, from: number, to: number): void {
  if (to - from > MANY) bytes.copy(into, at, from, to)
  else for (let i = from, out = at; i < to; i++, out++) into[out] = at8(bytes, i)
}

const MANY = 160

/** A byte that is known to be there. */
export function at8(bytes: Uint8Array, at: number): number {
  return bytes[at] as number
}

function malformed(reason: string): MigrateError {
  return new MigrateError('STREAM_MALFORMED', { reason })
}
