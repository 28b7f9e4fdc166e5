import type { Lsn } from '../model/lsn.ts'
import type { Direction, SyncCounters } from '../model/progress.ts'
import type { ExtraRows } from './extra-rows.ts'
import type { Pace } from './pace.ts'
import type { PipelineControl, Sink, SpoolFile, WalStream } from './ports.ts'

export interface PipelineOptions {
  readonly service: string
  readonly direction: Direction
  readonly stream: WalStream
  readonly sink: Sink
  readonly control: PipelineControl
  readonly counters: SyncCounters
  /** where a transaction waits that the source streams before its end, when it is too big for memory */
  readonly openSpool: () => SpoolFile
  /** shared by both directions of a service; none = rows that second legs make are not looked at */
  readonly extraRows?: ExtraRows | undefined
  /** none = as fast as it can */
  readonly pace?: Pace
  /** ends by itself once everything up to here is durable */
  readonly until?: Lsn
  /** a place where a test ends or freezes this process */
  readonly failpoint: (name: string) => Promise<void>
  readonly signal: AbortSignal
}
