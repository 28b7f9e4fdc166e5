import type { Side } from '../model/stage.ts'

/** A primary key as text, column by column in key order. */
export type KeyText = readonly string[]

/** Keys from `lo` up to, not including, `hi`; null is open. */
export interface KeyRange {
  readonly lo: KeyText | null
  readonly hi: KeyText | null
}

/** Seeds of the row hash. A second one (`--strict`) makes it 128 bits wide. */
export type Seeds = readonly [string] | readonly [string, string]

/** The rows of a range whose hash falls into this bucket: how many, and the exact sum of their hashes. */
export interface Bucket {
  readonly bucket: number
  readonly rows: number
  readonly sum: string
}

export interface KeyHash {
  readonly key: KeyText
  readonly hash: string
}

/** One row at one moment. `version` changes with every write to the row, also with one that changes no value. */
export interface RowLook {
  readonly version: string
  readonly hash: string
}

/** One table on one side. Each call is one statement, or one per page of keys. */
export interface TableSide {
  digest(range: KeyRange, seeds: Seeds): Promise<Bucket[]>
  /** the rows of a range that fall into these buckets */
  hashes(range: KeyRange, seeds: Seeds, buckets: readonly number[]): Promise<KeyHash[]>
  /** in the order of the keys; null = no such row */
  look(keys: readonly KeyText[], seeds: Seeds): Promise<(RowLook | null)[]>
  /** hash of every compared column, in the order of `ComparedTable.columns` */
  columnHashes(keys: readonly KeyText[], seed: string): Promise<((string | null)[] | null)[]>
}

export interface ComparedTable {
  /** schema.table */
  readonly relation: string
  readonly columns: readonly string[]
  /** what its ranges and their verification depend on: key, order, columns */
  readonly signature: string
  /** rows that one statement shall look at */
  readonly rangeRows: number
  /** First keys of all ranges but the first, ascending, about `rangeRows` rows of the authority apart. */
  bounds(signal: AbortSignal): Promise<KeyText[]>
  readonly authority: TableSide
  readonly copy: TableSide
}

export interface Authority {
  readonly side: Side
  readonly epoch: number
}

/** What a comparison asks of the service's databases and its sync worker. */
export interface ReconcilePorts {
  authority(): Promise<Authority>
  /** end of the log of the side with the authority */
  position(): Promise<bigint>
  /** Writes a mark into that log. Returns its position. */
  fence(): Promise<bigint>
  /** The copy holds everything that was committed before the fence; 'moved': the authority is on its way elsewhere. */
  passed(fence: bigint): Promise<'passed' | 'waiting' | 'moved'>
  /** seconds since the worker of the direction was heard of; null = none applies rows */
  workerAge(): Promise<number | null>
}

/** open: never looked at. drift and verified are conclusions, the others have to be looked at again. */
export type RangeState = 'open' | 'verified' | 'drift' | 'unsettled' | 'failed'

export interface StoredRange extends KeyRange {
  readonly number: number
  readonly state: RangeState
  /** rows of the authority when it was last looked at */
  readonly rows: number | null
  /** concluded in the present pass */
  readonly done: boolean
  /** seconds since it was last verified */
  readonly verifiedAge: number | null
}

export interface StoredTable {
  readonly relation: string
  readonly signature: string
  /** seconds since the present pass began; null = none did */
  readonly passAge: number | null
  readonly epoch: number
  readonly strict: boolean
  readonly ranges: readonly StoredRange[]
}

export interface Conclusion {
  readonly relation: string
  readonly number: number
  readonly state: Exclude<RangeState, 'open'>
  readonly rows: number | null
  /** of the authority's log, before the range was read */
  readonly position: bigint
  /** milliseconds since then */
  readonly age: number
}

/** missing: only the authority has the row; extra: only the copy has it. */
export type DriftKind = 'missing' | 'extra' | 'different'

export interface Drift {
  readonly relation: string
  readonly key: KeyText
  readonly kind: DriftKind
  /** the columns that differ; empty for missing and extra rows */
  readonly columns: readonly string[]
}

export interface KnownDrift extends Drift {
  readonly firstSeen: string
  readonly lastSeen: string
}

export interface TableStanding {
  readonly relation: string
  /** the position of the authority's log through which every range was verified under the present authority */
  readonly verifiedThrough: bigint | null
  /** seconds since the oldest of these verifications */
  readonly verifiedAge: number | null
  readonly drift: Readonly<Record<DriftKind, number>>
}

/** Where runs, ranges and differences are kept. Every call that writes throws TAKEN_OVER when a newer run was there. */
export interface ReconcileStore {
  openRun(run: Authority & { readonly strict: boolean }): Promise<void>
  tables(relations: readonly string[]): Promise<StoredTable[]>
  replan(relation: string, signature: string, ranges: readonly KeyRange[]): Promise<void>
  /** A new pass over these tables. */
  beginPass(relations: readonly string[], epoch: number, strict: boolean): Promise<void>
  conclude(conclusion: Conclusion, epoch: number): Promise<void>
  noteDrift(found: readonly Drift[]): Promise<void>
  clearDrift(relation: string, keys: readonly KeyText[]): Promise<void>
  /** differences not cleared yet, in the order of their keys; `after` = the last key of the page before */
  knownDrift(relation: string, after: KeyText | null, limit: number): Promise<KnownDrift[]>
  /** Moves the verified-through position of each table whose ranges are all verified, and says where they stand. */
  standing(relations: readonly string[], epoch: number): Promise<TableStanding[]>
  closeRun(outcome: string, reason: string, counts: { readonly ranges: number; readonly rows: number }): Promise<void>
}
