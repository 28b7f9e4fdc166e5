import { MigrateError } from '../../errors.ts'
import { type Relation, type RelationColumn, type Row, TextValue, UNCHANGED, type Value } from '../../model/change.ts'
import { asLsn, type Lsn } from '../../model/lsn.ts'
import { Reader } from './reader.ts'

/**
 * One message of PostgreSQL's pgoutput plugin, protocol versions 1–4. Inside a stream block the messages R, Y, I, U, D, T
 * and M have four bytes more, the transaction, behind their first one: `unstream` takes them out.
 */
export type Message =
  | { readonly kind: 'begin'; readonly finalLsn: Lsn; readonly xid: number }
  | { readonly kind: 'commit'; readonly commitLsn: Lsn; readonly endLsn: Lsn }
  | { readonly kind: 'relation'; readonly relation: Relation }
  | { readonly kind: 'insert'; readonly relationId: number; readonly row: Row }
  | { readonly kind: 'update'; readonly relationId: number; readonly old: Row | null; readonly row: Row }
  | { readonly kind: 'delete'; readonly relationId: number; readonly old: Row }
  | {
      readonly kind: 'truncate'
      readonly relationIds: readonly number[]
      readonly cascade: boolean
      readonly restartIdentity: boolean
    }
  | { readonly kind: 'note'; readonly prefix: string; readonly content: string }
  /** what follows, up to the end of the block, belongs to a transaction that is not committed yet */
  | { readonly kind: 'stream-start'; readonly xid: number }
  | { readonly kind: 'stream-stop' }
  | { readonly kind: 'stream-commit'; readonly xid: number; readonly commitLsn: Lsn; readonly endLsn: Lsn }
  /** `subxid` = `xid`: all of it was rolled back, else what this subtransaction did */
  | { readonly kind: 'stream-abort'; readonly xid: number; readonly subxid: number }
  /** of a slot with two_phase: ours have none, a prepared transaction comes when it is committed */
  | { readonly kind: 'two-phase'; readonly step: TwoPhaseStep; readonly xid: number; readonly gid: string }
  /** type and origin messages: nothing in them is needed */
  | { readonly kind: 'other' }

export type TwoPhaseStep = 'begin' | 'prepare' | 'commit' | 'rollback' | 'stream-prepare'

/**
 * Decodes one message. Values are views into `bytes`, which must not be reused afterwards.
 * Throws STREAM_MALFORMED on anything that the protocol does not have; reads never leave the buffer.
 * Source: PostgreSQL documentation, "Logical Replication Message Formats".
 */
export function decode(bytes: Buffer): Message {
  const reader = new Reader(bytes)
  const kind = reader.char()
  switch (kind) {
    case 'B': {
      const finalLsn = asLsn(reader.uint64())
      reader.skip(8)
      return { kind: 'begin', finalLsn, xid: reader.uint32() }
    }
    case 'C': {
      reader.skip(1)
      return { kind: 'commit', commitLsn: asLsn(reader.uint64()), endLsn: asLsn(reader.uint64()) }
    }
    case 'R':
      return { kind: 'relation', relation: relation(reader) }
    case 'I': {
      const relationId = reader.uint32()
      reader.expect('N')
      return { kind: 'insert', relationId, row: tuple(reader) }
    }
    case 'U':
      return update(reader)
    case 'D': {
      const relationId = reader.uint32()
      reader.oneOf('K', 'O')
      return { kind: 'delete', relationId, old: tuple(reader) }
    }
    case 'T':
      return truncate(reader)
    case 'M': {
      reader.skip(9)
      const prefix = reader.cstring()
      return { kind: 'note', prefix, content: reader.bytes(reader.int32()).toString('utf8') }
    }
    case 'S':
      return { kind: 'stream-start', xid: reader.uint32() }
    case 'E':
      return { kind: 'stream-stop' }
    case 'c': {
      const xid = reader.uint32()
      reader.skip(1)
      return { kind: 'stream-commit', xid, commitLsn: asLsn(reader.uint64()), endLsn: asLsn(reader.uint64()) }
    }
    case 'A':
      return { kind: 'stream-abort', xid: reader.uint32(), subxid: reader.uint32() }
    case 'b':
    case 'P':
    case 'K':
    case 'r':
    case 'p':
      return twoPhase(reader, kind)
    case 'Y':
    case 'O':
      return { kind: 'other' }
    default:
      throw new MigrateError('STREAM_MALFORMED', { reason: `unknown message ${kind.charCodeAt(0)}` })
  }
}

/** The name of each step, and how many bytes of flags, positions and times stand before its transaction. */
const TWO_PHASE = {
  b: ['begin', 24],
  P: ['prepare', 25],
  K: ['commit', 25],
  r: ['rollback', 33],
  p: ['stream-prepare', 25],
} as const

function twoPhase(reader: Reader, kind: keyof typeof TWO_PHASE): Message {
  const [step, before] = TWO_PHASE[kind]
  reader.skip(before)
  return { kind: 'two-phase', step, xid: reader.uint32(), gid: reader.cstring() }
}

const IDENTITIES = { d: 'default', n: 'nothing', f: 'full', i: 'index' } as const

function relation(reader: Reader): Relation {
  const id = reader.uint32()
  const schema = reader.cstring() || 'pg_catalog'
  const name = reader.cstring()
  const identity = IDENTITIES[reader.oneOf('d', 'n', 'f', 'i')]
  const count = reader.int16()
  const columns: RelationColumn[] = []
  for (let i = 0; i < count; i++) {
    const flags = reader.uint8()
    const column = reader.cstring()
    columns.push({ name: column, typeOid: reader.uint32(), typeModifier: reader.int32(), key: (flags & 1) === 1 })
  }
  return { id, schema, name, identity, columns }
}

function update(reader: Reader): Message {
  const relationId = reader.uint32()
  if (reader.oneOf('K', 'O', 'N') === 'N') return { kind: 'update', relationId, old: null, row: tuple(reader) }
  const old = tuple(reader)
  reader.expect('N')
  const row = tuple(reader)
  // a TOAST value that has not changed is sent in the old row only: any under identity full, else those of the key
  const complete = row.map((value, i) => (value === UNCHANGED ? (old[i] ?? value) : value))
  return { kind: 'update', relationId, old, row: complete }
}

function truncate(reader: Reader): Message {
  const count = reader.uint32()
  const flags = reader.uint8()
  const relationIds: number[] = []
  for (let i = 0; i < count; i++) relationIds.push(reader.uint32())
  return { kind: 'truncate', relationIds, cascade: (flags & 1) === 1, restartIdentity: (flags & 2) === 2 }
}

/** Decodes the tuple at the beginning of `bytes`. */
export function decodeTuple(bytes: Buffer): Row {
  return tuple(new Reader(bytes))
}

function tuple(reader: Reader): Row {
  const count = reader.int16()
  const row: Value[] = []
  for (let i = 0; i < count; i++) row.push(value(reader))
  return row
}

function value(reader: Reader): Value {
  switch (reader.oneOf('n', 'u', 'b', 't')) {
    case 'n':
      return null
    case 'u':
      return UNCHANGED
    case 'b':
      return reader.bytes(reader.int32())
    case 't':
      return new TextValue(reader.bytes(reader.int32()))
  }
}
