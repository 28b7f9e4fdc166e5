import { asLsn, formatLsn } from '../model/lsn.ts'
import type { Side } from '../model/stage.ts'
import type { Authority, DriftKind, KnownDrift, ReconcileStore, StoredTable, TableStanding } from './ports.ts'

/** partial: nothing is known to be wrong, but not everything was verified. */
export type Outcome = 'verified' | 'drift' | 'partial'

export interface ServiceReport {
  readonly service: string
  readonly outcome: Outcome
  /** the side that is right; the other one is the copy */
  readonly authority: Side
  readonly epoch: number
  /** looked at in this run; an earlier run of the same pass may have done the rest */
  readonly ranges: number
  readonly rows: number
  readonly seconds: number
  /** keys that differed as they were read, or were known to, and were looked at again */
  readonly rechecked: number
  /** of these the ones touched too often to say anything about them in this run */
  readonly inFlight: number
  readonly tables: readonly TableReport[]
}

export interface TableReport {
  readonly table: string
  readonly outcome: Outcome
  /** ranges of the pass by state; failed = the server refused the statement */
  readonly ranges: {
    readonly verified: number
    readonly drift: number
    readonly unsettled: number
    readonly failed: number
    readonly open: number
  }
  /** every commit of the authority before this position is in the copy; null = not yet known of the whole table */
  readonly verifiedThrough: string | null
  /** seconds since the oldest part of it was verified */
  readonly verifiedAge: number | null
  /** missing: only the authority has the row; extra: only the copy has it */
  readonly drift: Readonly<Record<DriftKind, number>>
  readonly keys: readonly NamedDrift[]
  /** there are more keys than are named here */
  readonly truncated: boolean
}

export type NamedDrift = Omit<KnownDrift, 'relation'>

const NAMED = 100

export async function reportOf(run: {
  readonly service: string
  readonly authority: Authority
  readonly counts: {
    readonly ranges: number
    readonly rows: number
    readonly rechecked: number
    readonly inFlight: number
  }
  readonly seconds: number
  readonly tables: readonly StoredTable[]
  readonly standing: readonly TableStanding[]
  readonly store: ReconcileStore
}): Promise<ServiceReport> {
  const tables: TableReport[] = []
  for (const table of run.tables) {
    const standing = run.standing.find(({ relation }) => relation === table.relation)
    const known = await run.store.knownDrift(table.relation, null, NAMED)
    tables.push(tableReport(table, standing, known))
  }
  return {
    service: run.service,
    outcome: worst(tables.map(({ outcome }) => outcome)),
    authority: run.authority.side,
    epoch: run.authority.epoch,
    ...run.counts,
    seconds: run.seconds,
    tables,
  }
}

function tableReport(
  table: StoredTable,
  standing: TableStanding | undefined,
  known: readonly KnownDrift[],
): TableReport {
  const ranges = { verified: 0, drift: 0, unsettled: 0, failed: 0, open: 0 }
  for (const { state, done } of table.ranges) {
    // what an earlier pass has concluded is still to be looked at in this one
    ranges[done || state === 'unsettled' || state === 'failed' ? state : 'open'] += 1
  }
  const drift = standing?.drift ?? { missing: 0, extra: 0, different: 0 }
  const drifted = drift.missing + drift.extra + drift.different
  const whole = ranges.verified === table.ranges.length && table.ranges.length > 0
  const through = standing?.verifiedThrough ?? null
  return {
    table: table.relation,
    outcome: drifted > 0 || ranges.drift > 0 ? 'drift' : whole ? 'verified' : 'partial',
    ranges,
    verifiedThrough: through === null ? null : formatLsn(asLsn(through)),
    verifiedAge: standing?.verifiedAge ?? null,
    drift,
    keys: known.map(({ key, kind, columns, firstSeen, lastSeen }) => ({ key, kind, columns, firstSeen, lastSeen })),
    truncated: drifted > known.length,
  }
}

function worst(outcomes: readonly Outcome[]): Outcome {
  if (outcomes.includes('drift')) return 'drift'
  return outcomes.length > 0 && outcomes.every((outcome) => outcome === 'verified') ? 'verified' : 'partial'
}
