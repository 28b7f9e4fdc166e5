// Relations, rows and transactions for tests of what comes after the decoding.
import {
  type Change,
  type Note,
  type Relation,
  type Row,
  TextValue,
  type Transaction,
  UNCHANGED,
  type Value,
} from '../../src/model/change.ts'
import { asLsn } from '../../src/model/lsn.ts'

/** Columns as `id:int8*`: name, type, `*` = part of the key. The types are those of `OIDS`. */
export function relationOf(id: number, name: string, columns: readonly string[]): Relation {
  return {
    ...{ id, schema: 'public', name, identity: 'default' },
    columns: columns.map((text) => {
      const [column = '', type = 'text'] = text.replace('*', '').split(':')
      return { name: column, typeOid: OIDS[type] ?? 25, typeModifier: -1, key: text.endsWith('*') }
    }),
  }
}

const OIDS: Readonly<Record<string, number>> = { int8: 20, int4: 23, text: 25, bytea: 17 }

export function int8(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

export function int4(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

export function text(value: string): Buffer {
  return Buffer.from(value)
}

export const insert = (relation: Relation, row: Row): Change => ({ op: 'insert', relation, row })
export const update = (relation: Relation, row: Row, old: Row | null = null): Change => ({
  ...{ op: 'update', relation, row, old },
})
export const remove = (relation: Relation, old: Row): Change => ({ op: 'delete', relation, old })
export const truncate = (...relations: Relation[]): Change => ({
  ...{ op: 'truncate', relations, cascade: false, restartIdentity: false },
})

export function transaction(at: number | bigint, changes: readonly Change[], notes: readonly Note[] = []): Transaction {
  const size = changes.length
  return { xid: Number(at), commitLsn: asLsn(BigInt(at)), changes, size, notes, bytes: size * 100 }
}

/** The key columns as the relation marks them. */
export function keyColumnsOf(relation: Relation): number[] {
  return relation.columns.flatMap(({ key }, i) => (key ? [i] : []))
}

export function show(value: Value | undefined): string {
  if (value instanceof TextValue) return value.bytes.toString('latin1')
  if (Buffer.isBuffer(value)) return value.toString('latin1')
  return value === UNCHANGED ? 'unchanged' : 'null'
}
