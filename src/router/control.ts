import type { Lsn } from '../model/lsn.ts'
import type { PolicySet, WriteAuthority } from '../model/policy.ts'

/** What a router needs of the control database. Implemented in src/control. */
export interface RouterControl {
  /** One consistent reading, in one statement. Rejects when the control database cannot be reached. */
  readPolicy(): Promise<PolicySet>
  /**
   * Who may write, service by service, where that can be had without the control database (null = it is in the same
   * database). Rejects when the monolith's cannot be reached.
   */
  readonly readAuthority: (() => Promise<ReadonlyMap<string, WriteAuthority>>) | null
  /** Calls `changed` after each notification of a change (it may also miss some: poll besides). */
  onChange(changed: () => void): void
  /** Says that this instance lives and where it stands; its lease is 10 s from now on the server's clock. */
  report(report: RouterReport): Promise<void>
  /** `pg_current_wal_insert_lsn()` of the monolith: an upper bound of everything committed there before the call. */
  position(): Promise<Lsn>
}

export interface RouterReport {
  readonly instance: string
  /** version of the policy that this instance obeys since before the report was made */
  readonly version: number
  readonly services: Readonly<Record<string, RouterLoad>>
}

/** What one instance has under way for one service. */
export interface RouterLoad {
  /** writes sent to the monolith or the service and not answered yet */
  readonly writes: number
  /** second legs under way */
  readonly legs: number
  /** writes that wait for a hold to end */
  readonly held: number
}
