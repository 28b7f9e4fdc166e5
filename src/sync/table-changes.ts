import { MigrateError } from '../errors.ts'
import type { Relation } from '../model/change.ts'
import { KeyTable } from './key-table.ts'
import { at8, overlay, TupleScanner, unchangedColumns } from './pgoutput/tuple.ts'

/** What a batch does to the row of one key, all its changes taken together. */
export const NET = {
  /** nothing yet */
  unknown: 0,
  /** the row came and went */
  nothing: 1,
  insert: 2,
  update: 3,
  delete: 4,
  /** the row went and another one came */
  replace: 5,
} as const
export type Net = (typeof NET)[keyof typeof NET]

/** A tuple as it lies in a buffer. */
export interface Tuple {
  readonly bytes: Buffer
  readonly at: number
  readonly end: number
}

/**
 * The net changes of one table, at most one a key, by columns: a later value wins, and an UPDATE that leaves a TOASTed
 * value out keeps the one that the batch already has. Tuples stay where they are; only those put together from two are new.
 * Each method returns false, and changes nothing, when the change does not fit to what is known of its key: then the
 * order matters, and it has to be done by itself.
 */
export class TableChanges {
  readonly relation: Relation
  readonly keyColumns: readonly number[]
  readonly keys = new KeyTable()
  /** sets of columns that were not sent; 0 = none */
  readonly shapes: (readonly number[])[] = [[]]
  readonly #scanner: TupleScanner
  readonly #old: TupleScanner
  readonly #mayMove: boolean
  readonly #shapeNumbers = new Map<string, number>()
  #net = new Uint8Array(64)
  #shape = new Uint16Array(64)
  #at = new Int32Array(64)
  #end = new Int32Array(64)
  readonly #bytes: Buffer[] = []

  /** `mayMove`: a row with another key may be made anew, as it has nothing that only the target knows. */
  constructor(relation: Relation, keyColumns: readonly number[], mayMove = true) {
    this.relation = relation
    this.#mayMove = mayMove
    this.keyColumns = keyColumns
    this.#scanner = new TupleScanner(relation.columns.length, keyColumns)
    this.#old = new TupleScanner(relation.columns.length, keyColumns)
  }

  net(number: number): Net {
    return this.#net[number] as Net
  }

  /** index in `shapes` */
  shape(number: number): number {
    return this.#shape[number] as number
  }

  tuple(number: number): Tuple {
    return { bytes: this.bytes(number), at: this.at(number), end: this.end(number) }
  }

  bytes(number: number): Buffer {
    return this.#bytes[number] as Buffer
  }

  at(number: number): number {
    return this.#at[number] as number
  }

  end(number: number): number {
    return this.#end[number] as number
  }

  /** Forgets everything, and keeps the room. */
  clear(): void {
    this.#net.fill(NET.unknown, 0, this.keys.count)
    this.#bytes.length = 0
    this.keys.clear()
  }

  insert(bytes: Buffer, at: number, end: number): boolean {
    this.#scanner.scan(bytes, at, end)
    if (this.#scanner.texts > 0 || this.#scanner.unchanged > 0) return false
    return this.#insert(this.#numberOf(bytes, this.#scanner), bytes, at)
  }

  delete(bytes: Buffer, at: number, end: number): boolean {
    this.#scanner.scan(bytes, at, end)
    if (this.#scanner.texts > 0) return false
    const number = this.#numberOf(bytes, this.#scanner)
    return this.#isOf(number, bytes, at, this.#scanner.end) && this.#delete(number)
  }

  /** The new row is at `at`; with an old key or row at `oldAt`, behind that. */
  update(bytes: Buffer, oldAt: number | null, at: number, end: number): boolean {
    if (oldAt !== null) return this.#updateFrom(bytes, oldAt, end)
    this.#scanner.scan(bytes, at, end)
    if (this.#scanner.texts > 0) return false
    return this.#update(this.#numberOf(bytes, this.#scanner), bytes, at)
  }

  #updateFrom(bytes: Buffer, oldAt: number, end: number): boolean {
    const scanner = this.#scanner
    this.#old.scan(bytes, oldAt, end)
    if (at8(bytes, this.#old.end) !== NEW_ROW) throw new MigrateError('STREAM_MALFORMED', { reason: 'expected N' })
    let [row, at] = [bytes, this.#old.end + 1]
    scanner.scan(bytes, at, end)
    if (scanner.texts + this.#old.texts > 0) return false
    if (scanner.unchanged > 0) {
      // a TOASTed value that has not changed is sent in the old row only
      row = overlay({ bytes, at, end: scanner.end }, { bytes, at: oldAt, end: this.#old.end })
      at = 0
      scanner.scan(row, 0, row.length)
    }
    if (!this.#sameKey(bytes, row)) return this.#move(bytes, row, at)
    const number = this.#numberOf(row, scanner)
    return this.#isOf(number, bytes, oldAt, this.#old.end) && this.#update(number, row, at)
  }

  /**
   * Is the old row of a change the one that the batch has with this key? Under identity full the key may be checked at the
   * end of a transaction only, and two rows may have it until then.
   */
  #isOf(number: number, bytes: Buffer, at: number, end: number): boolean {
    if (this.relation.identity !== 'full') return true
    const net = this.net(number)
    if (net !== NET.insert && net !== NET.update && net !== NET.replace) return true
    return bytes.compare(this.bytes(number), this.at(number), this.end(number), at, end) === 0
  }

  /**
   * The row has another key now. Under identity default the new key was free, as its index is checked at once; otherwise
   * two rows may change places, which only the order tells.
   */
  #move(old: Buffer, row: Buffer, at: number): boolean {
    if (!this.#mayMove || this.relation.identity !== 'default' || this.#scanner.unchanged > 0) return false
    const from = this.#numberOf(old, this.#old)
    const to = this.#numberOf(row, this.#scanner)
    if (!MAY[NET.delete].includes(this.net(from)) || !MAY[NET.insert].includes(this.net(to))) return false
    return this.#delete(from) && this.#insert(to, row, at)
  }

  #insert(number: number, bytes: Buffer, at: number): boolean {
    const net = this.net(number)
    if (!MAY[NET.insert].includes(net)) return false
    return this.#set(number, net === NET.delete ? NET.replace : NET.insert, bytes, at, 0)
  }

  #delete(number: number): boolean {
    const net = this.net(number)
    if (!MAY[NET.delete].includes(net)) return false
    this.#net[number] = net === NET.insert ? NET.nothing : NET.delete
    return true
  }

  #update(number: number, row: Buffer, at: number): boolean {
    const net = this.net(number)
    const { unchanged, end } = this.#scanner
    if (net === NET.unknown) return this.#set(number, NET.update, row, at, this.#shapeOf(row, at))
    if (net === NET.nothing || net === NET.delete) return false
    if (unchanged === 0) return this.#set(number, net, row, at, 0)
    const merged = overlay({ bytes: row, at, end }, this.tuple(number))
    this.#scanner.scan(merged, 0, merged.length)
    return this.#set(number, net, merged, 0, this.#shapeOf(merged, 0))
  }

  #sameKey(old: Buffer, row: Buffer): boolean {
    for (let i = 0; i < this.keyColumns.length; i++) {
      const a = this.#old.keyAt[i] as number
      const b = this.#scanner.keyAt[i] as number
      const length = keyLength(old, a)
      if (length !== keyLength(row, b)) return false
      for (let k = 0; k < length; k++) if (old[a + k] !== row[b + k]) return false
    }
    return true
  }

  #numberOf(bytes: Buffer, scanner: TupleScanner): number {
    const number = this.keys.numberOf(bytes, scanner.keyAt)
    if (number >= this.#net.length) this.#grow()
    return number
  }

  #set(number: number, net: Net, bytes: Buffer, at: number, shape: number): true {
    this.#net[number] = net
    this.#shape[number] = shape
    this.#at[number] = at
    this.#end[number] = this.#scanner.end
    this.#bytes[number] = bytes
    return true
  }

  #shapeOf(bytes: Buffer, at: number): number {
    if (this.#scanner.unchanged === 0) return 0
    const columns = unchangedColumns(bytes, at, this.#scanner.end)
    const name = columns.join(' ')
    let number = this.#shapeNumbers.get(name)
    if (number === undefined) {
      number = this.shapes.push(columns) - 1
      this.#shapeNumbers.set(name, number)
    }
    return number
  }

  #grow(): void {
    const size = this.#net.length * 2
    const copy = <A extends Uint8Array | Uint16Array | Int32Array>(to: A, from: A): A => {
      to.set(from)
      return to
    }
    this.#net = copy(new Uint8Array(size), this.#net)
    this.#shape = copy(new Uint16Array(size), this.#shape)
    this.#at = copy(new Int32Array(size), this.#at)
    this.#end = copy(new Int32Array(size), this.#end)
  }
}

/** Before which net changes may an insert, or a delete, of the same key come? */
const MAY: Record<2 | 4, readonly Net[]> = {
  [NET.insert]: [NET.unknown, NET.nothing, NET.delete],
  [NET.delete]: [NET.unknown, NET.insert, NET.update, NET.replace],
}

/** N: what follows is the new row */
const NEW_ROW = 0x4e

/** Bytes of a column with its kind and length. */
function keyLength(bytes: Buffer, at: number): number {
  const kind = bytes[at]
  return kind === 0x62 || kind === 0x74 ? 5 + bytes.readInt32BE(at + 1) : 1
}
