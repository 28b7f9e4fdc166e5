import type { Lsn } from './lsn.ts'
import type { Side, Stage } from './stage.ts'

/** Who may write, as the monolith's database says; one consistent reading. */
export interface WriteAuthority {
  readonly authority: { readonly side: Side; readonly epoch: number }
  /** the monolith's fence: `open`, or closed until a time of the monolith's clock, or for good */
  readonly fence: 'open' | 'closed' | 'expired'
  /** fencing token of the last run that has closed or lifted the fence */
  readonly fenceRun: number
}

/** What the control database says about one service; a router works from one consistent set of these. */
export interface ServicePolicy extends WriteAuthority {
  readonly service: string
  readonly stage: Stage
  /** share of the reads that goes to the service, 0–100, three decimals */
  readonly percent: number
  /** grows with every change of stage, percentage or hold, over all services */
  readonly version: number
  /** set while a cutover or rollback wants the routers to hold new writes of this service, for so long from the reading */
  readonly hold: { readonly run: number; readonly leftMs: number } | null
  /** may routers start second legs (the sink has acknowledged the hold) */
  readonly legs: boolean
  /** routes without second legs, by their paths: their service does not keep the monolith's ids */
  readonly halted: readonly string[]
  /** position of the monolith's WAL up to which every store that answers reads is durable; null = unknown */
  readonly applied: Lsn | null
}

/** One consistent reading of the control database. */
export interface PolicySet {
  readonly version: number
  readonly services: ReadonlyMap<string, ServicePolicy>
  /** router instances that were heard of a moment ago and have not yet acknowledged this version */
  readonly laggards: number
}
