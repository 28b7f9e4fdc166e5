import type { Lsn } from './lsn.ts'

/** forward: monolith → service; reverse: service → monolith. */
export const DIRECTIONS = ['forward', 'reverse'] as const
export type Direction = (typeof DIRECTIONS)[number]

export type PipelineState = 'apply' | 'discard' | 'sealed'

/** Where one pipeline stands, as its worker says. */
export interface Progress {
  readonly service: string
  readonly direction: Direction
  /** host/pid */
  readonly worker: string
  /** fencing token of the worker's lease */
  readonly epoch: number
  readonly phase: 'copying' | 'streaming' | 'stopped'
  readonly state: PipelineState
  /** durable in the target up to here, idle progress included */
  readonly applied: Lsn | null
  /** end of the source's log when last asked */
  readonly source: Lsn | null
  readonly hold: boolean
  /**
   * everything that the source had committed so many seconds before this report is durable in the target; null = not
   * known yet
   */
  readonly lagSeconds: number | null
  /** why it wrote slower than it could; null = it did not */
  readonly throttled: string | null
  /** end of the source's log as it was last measured, and how fast that grows in bytes a second */
  readonly walEnd: Lsn | null
  readonly walRate: number | null
  readonly counters: SyncCounters
}

export interface SyncCounters {
  transactions: number
  /** row changes written to the target */
  rows: number
  /** second legs that the sink revoked */
  revoked: number
  /** rows that were already right when their held change came (dual-write) */
  verified: number
  /** rows that had to be put right (dual-write) */
  repaired: number
  /** rows that second legs had made and the monolith lacked: removed (dual-write) */
  extra: number
  /** rows of the service that had a unique value which the monolith has given to another row: removed (dual-write) */
  serviceExtra: number
  /** row changes by somebody who should not write there */
  foreign: number
}

export function newCounters(): SyncCounters {
  return { transactions: 0, rows: 0, revoked: 0, verified: 0, repaired: 0, extra: 0, serviceExtra: 0, foreign: 0 }
}
