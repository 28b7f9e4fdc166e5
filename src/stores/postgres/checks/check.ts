import type { Sql } from '../../../model/sql.ts'
import type { TableInfo } from '../catalogue.ts'
import type { DatabaseOptions } from '../database.ts'

/** An error stops `sync`; a warning has to be dealt with before the step that it names; info is good to know. */
export type Severity = 'error' | 'warning' | 'info'

/** One thing that is looked at. A check is a file in this folder and one line in `index.ts`; it changes nothing. */
export interface Check {
  /** stable name, e.g. `replica-identity` */
  readonly id: string
  /** the worst that it finds */
  readonly severity: Severity
  /** what is looked for, as a sentence without its subject; docs/reference/checks.md prints it */
  readonly looksFor: string
  /** what would happen otherwise */
  readonly why: string
  find(context: CheckContext): Promise<Found[]>
}

/** What a check has found. */
export interface Found {
  readonly side: Side
  /** only where it is less than the check's own */
  readonly severity?: Severity
  readonly message: string
  readonly measured: string
  /** what removes it, for a person: SQL or a sentence */
  readonly fix: string
  /** statements that remove it and may run at any hour; none when somebody has to decide first */
  readonly sql?: readonly string[]
}

export interface CheckContext {
  readonly service: string
  readonly monolith: Side
  readonly target: Side
  /** as the configuration names them */
  readonly wanted: readonly string[]
  /** those of them that the monolith has, and the service has */
  readonly tables: readonly TableInfo[]
  readonly targetTables: readonly TableInfo[]
  /** of `tables`: themselves and all their partitions */
  readonly oids: readonly number[]
  /** the login role of the monolith's own application, when the configuration names it */
  readonly monolithRole: string | undefined
  /** slots of this service, which an earlier run may have made */
  readonly serviceSlots: readonly string[]
  /** slots of all services of the configuration, which nobody has abandoned */
  readonly ownSlots: readonly string[]
  readonly longTransactionSeconds: number
}

/** One of the two databases. */
export interface Side {
  /** 'monolith' or the name of the service */
  readonly name: string
  readonly kind: 'monolith' | 'service'
  readonly sql: Sql
  readonly connection: DatabaseOptions
  readonly server: ServerFacts
}

export interface ServerFacts {
  readonly systemIdentifier: string
  /** server_version_num */
  readonly version: number
  readonly versionText: string
  readonly database: string
  readonly user: string
  readonly superuser: boolean
  /** names of all superusers, quoted where they have to be */
  readonly superusers: readonly string[]
}

export function sidesOf({ monolith, target }: CheckContext): readonly Side[] {
  return [monolith, target]
}

/** A finding without SQL that may run at any hour. */
export function byHand(side: Side, message: string, measured: string, fix: string): Found {
  return { side, message, measured, fix }
}

/** A finding with the statements that remove it. */
export function bySql(side: Side, message: string, measured: string, sql: readonly string[]): Found {
  return { side, message, measured, fix: sql.join(' '), sql }
}
