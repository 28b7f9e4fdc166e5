import type { Lsn } from './lsn.ts'

/** A table as the stream describes it. */
export interface Relation {
  readonly id: number
  readonly schema: string
  readonly name: string
  readonly identity: 'default' | 'nothing' | 'full' | 'index'
  readonly columns: readonly RelationColumn[]
}

export interface RelationColumn {
  readonly name: string
  readonly typeOid: number
  readonly typeModifier: number
  /** part of the replica identity */
  readonly key: boolean
}

/** The column was not sent because its TOASTed value has not changed. Never a NULL. */
export const UNCHANGED: unique symbol = Symbol('unchanged TOAST value')

/** A value that the server sends as text: its type has no binary form. */
export class TextValue {
  readonly bytes: Buffer
  constructor(bytes: Buffer) {
    this.bytes = bytes
  }
}

/** A column as raw bytes: a Buffer in PostgreSQL's binary form, text, NULL, or not sent. */
export type Value = Buffer | TextValue | null | typeof UNCHANGED
export type Row = readonly Value[]

export type Change =
  | { readonly op: 'insert'; readonly relation: Relation; readonly row: Row }
  | {
      readonly op: 'update'
      readonly relation: Relation
      /** the old key or, under identity full, the old row; null when the key has not changed */
      readonly old: Row | null
      readonly row: Row
    }
  | { readonly op: 'delete'; readonly relation: Relation; readonly old: Row }
  | {
      readonly op: 'truncate'
      readonly relations: readonly Relation[]
      readonly cascade: boolean
      readonly restartIdentity: boolean
    }

/** A logical message of ours inside the stream. */
export interface Note {
  readonly prefix: string
  readonly content: string
}

/** Everything that one transaction of the source did to the published tables. */
export interface Transaction {
  readonly xid: number
  /** end of the commit record: acknowledging exactly this loses and repeats nothing */
  readonly commitLsn: Lsn
  /** another one where several transactions are taken as one: the position of the first */
  readonly firstLsn?: Lsn
  readonly changes: readonly Change[]
  /** how many changes: known without decoding them */
  readonly size: number
  readonly notes: readonly Note[]
  readonly bytes: number
}

/** Prefixes of the logical messages that we write. */
export const NOTE = {
  /** `<service> <direction> <epoch>`: the transaction is an apply of ours, not somebody's write */
  apply: 'migrate.apply',
  /** `<service>`: the transaction is a second leg, by `idempotent()` */
  leg: 'migrate.leg',
  /** `<service> <run> <deadline>`: everything before it belongs to the time before the fence */
  token: 'migrate.token',
  /** `<service> <direction> <run> <epoch>`: apply what follows */
  start: 'migrate.start',
  /** `<service>`: reconcile waits until the pipeline's checkpoint is beyond it */
  fence: 'migrate.fence',
  /** `<service> <direction>`, outside of transactions: what moves the slot on while nobody writes to its tables */
  heartbeat: 'migrate.heartbeat',
} as const
