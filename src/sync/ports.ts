import type { Relation, Row } from '../model/change.ts'
import type { Lsn } from '../model/lsn.ts'
import type { PipelineState } from '../model/progress.ts'
import type { Block } from './block.ts'
import type { Part, RawTransaction } from './raw-transaction.ts'

/** Messages as they came from the source. */
export interface WalBlock extends Block {
  /** the server had sent everything before this position when it had sent the block; null = it did not say */
  readonly walEnd: Lsn | null
}

/** An open replication connection. It stays alive by itself, whatever its reader does. */
export interface WalStream extends AsyncDisposable {
  /** Messages as they come; not pulling is the back-pressure. Ends or throws with the connection. */
  blocks(): AsyncIterable<WalBlock>
  /** A buffer whose blocks nobody reads any more may be filled again. */
  recycle(bytes: Buffer): void
  /** Lets the source forget everything up to exactly here. Only for what is durable in the target. */
  acknowledge(lsn: Lsn): void
  /** Asks the server for a keepalive with its position. */
  askPosition(): void
}

/** A file of this process alone: it is gone with it, however that ends. Throws SPOOL_FAILED. */
export interface SpoolFile extends Disposable {
  /** behind what was written before */
  write(bytes: Buffer): void
  /** fills `into` */
  read(offset: number, into: Buffer): void
}

/** The target's checkpoint row: where the pipeline stands and how it has to go on. */
export interface Checkpoint {
  readonly epoch: number
  readonly state: PipelineState
  readonly commitLsn: Lsn
  readonly hold: boolean
  readonly graceMs: number
  readonly tracking: number | null
  readonly authorityEpoch: number | null
  readonly token: string | null
}

/** One row of a table by its key. */
export interface RowName {
  readonly relation: Relation
  readonly key: Row
}

/** A row change to write, with how. */
export interface RowWrite {
  readonly relation: Relation
  readonly op: 'insert' | 'update' | 'delete'
  /** the key to find the row by; the new key of an insert */
  readonly key: Row
  /** the new values; empty for a delete */
  readonly row: Row
}

export interface SinkBatch {
  /** the checkpoint as the pipeline knows it; anything else in the target = nothing is written */
  readonly from: Checkpoint
  readonly to: Lsn
  readonly work: SinkWork
  /** keys of all rows that the batch speaks of, for `tracking` and `note` */
  readonly touched: readonly RowName[]
  /** keep the touched keys: a leg that cannot be revoked may still change their rows */
  readonly note?: boolean
  readonly token: string | null
  /** `whole`, or the part of a big transaction that this is: it is committed with the `last` one, and `to` holds then */
  readonly part: Part
  /**
   * false = it need not be durable when `write` resolves: nothing of it is acknowledged or told before `flush`
   */
  readonly durable: boolean
  /** the pipeline's state from here on, when a start token went by */
  readonly start: { readonly authorityEpoch: number } | null
}

export type SinkWork =
  /** nothing but the position */
  | { readonly kind: 'none' }
  /** whole transactions in source order; every update and delete must find its row */
  | { readonly kind: 'exact'; readonly revoke: readonly string[]; readonly transactions: readonly RawTransaction[] }
  /** dual-write: revoke these legs, remove these extra rows, then make these rows equal to the monolith's */
  | {
      readonly kind: 'converge'
      readonly revoke: readonly string[]
      readonly extra: readonly RowName[]
      readonly writes: readonly RowWrite[]
    }
  /** the same, then whole transactions in source order, whatever legs have already done */
  | {
      readonly kind: 'replay'
      readonly revoke: readonly string[]
      readonly extra: readonly RowName[]
      readonly transactions: readonly RawTransaction[]
    }

/** What a converging write found; missing = an update with unchanged TOAST values that had no row to change. */
export type WriteOutcome = 'equal' | 'repaired' | 'missing'

export type SinkResult =
  | Written
  /** the checkpoint row asks for something else now (hold, tracking, sealed …): read it and go on */
  | { readonly kind: 'changed' }
  /** the authority row does not allow this pipeline's writes */
  | { readonly kind: 'forbidden' }
  /** rows of a `converge` collide in a unique index: nothing was written, `replay` the batch */
  | { readonly kind: 'conflict' }

export interface Written {
  readonly kind: 'written'
  readonly rows: number
  /** `converge`: for each write; else empty */
  readonly outcomes: readonly WriteOutcome[]
  /** writes of `converge` and `replay` that found no row and could not stand alone */
  readonly missing: readonly RowWrite[]
  /** extra rows that were there; they are kept in migrate.undo */
  readonly extra: number
  /** rows that were in the way of a unique value: removed, and kept in migrate.undo */
  readonly rivals: number
}

/** The target of a pipeline. `write` resolved = data and checkpoint are there; durable, if the batch says so. */
export interface Sink extends AsyncDisposable {
  checkpoint(): Promise<Checkpoint>
  /** indexes of the columns of the relation that make the target's primary key */
  keyColumns(relation: Relation): readonly number[]
  write(batch: SinkBatch): Promise<SinkResult>
  /** Makes durable what was written; returns the position up to which everything is. Null: another worker is there. */
  flush(): Promise<Lsn | null>
  /** Calls back when somebody has changed the checkpoint row (may miss some: look every second besides). */
  onChange(changed: () => void): void
}

/** What the pipeline asks of the control database. */
export interface PipelineControl {
  /** open legs of the service, opened at least so many milliseconds ago */
  openLegs(olderThan: number): Promise<string[]>
  legsRevoked(keys: readonly string[]): Promise<void>
  /**
   * Only where legs cannot be revoked: may a leg under way still change rows of the batch that revokes these? The rows
   * of a leg's request are in the batch that revokes it or in a later one, as it was open when its first change came.
   */
  keepsKeys?(revoked: readonly string[]): Promise<boolean>
  /** never throws: what cannot be told now is told with the next call */
  publish(report: PipelineReport): Promise<void>
}

export interface PipelineReport {
  readonly phase: 'copying' | 'streaming' | 'stopped'
  readonly state: PipelineState
  readonly applied: Lsn | null
  readonly source: Lsn | null
  readonly hold: boolean
  /** data has been applied since the last report, so routers want to know */
  readonly news: boolean
}
