import { serviceOf } from '../config/service.ts'
import { hasReconciled, readStanding } from '../control/reconcile.ts'
import { asLsn, formatLsn } from '../model/lsn.ts'
import { parseTableName } from '../stores/postgres/identifier.ts'
import type { App } from './open.ts'

/** What reconcile knows about a service. */
export interface VerificationStatus {
  /** position of the authority's log through which every table was verified; null = not all of them, under this authority */
  readonly through: string | null
  /** seconds since the oldest part was verified */
  readonly age: number | null
  /** rows known to differ */
  readonly drift: number
  readonly tables: readonly {
    readonly table: string
    readonly through: string | null
    readonly age: number | null
    readonly drift: number
  }[]
}

/** What reconcile has verified of all tables of a service under this epoch; null until it has run. */
export async function readVerification(app: App, service: string, epoch: number): Promise<VerificationStatus | null> {
  if (!(await hasReconciled(app.control, service))) return null
  const relations = relationsOf(app, service)
  const standing = await readStanding(app.control, service, relations, epoch)
  const tables = relations.map((relation) => {
    const found = standing.find((table) => table.relation === relation)
    const { missing, extra, different } = found?.drift ?? { missing: 0, extra: 0, different: 0 }
    return {
      table: relation,
      position: found?.verifiedThrough ?? null,
      age: found?.verifiedAge ?? null,
      drift: missing + extra + different,
    }
  })
  const through = lowest(tables.map(({ position }) => position))
  return {
    through: textOf(through),
    age: through === null ? null : Math.max(...tables.map(({ age }) => age ?? 0)),
    drift: tables.reduce((sum, { drift }) => sum + drift, 0),
    tables: tables.map(({ position, ...table }) => ({ ...table, through: textOf(position) })),
  }
}

/** `schema.table` of the service's tables, as reconcile calls them. */
export function relationsOf(app: App, service: string): string[] {
  return Object.keys(serviceOf(app.config, service).tables).map(relationOf)
}

export function relationOf(table: string): string {
  const { schema, name } = parseTableName(table)
  return `${schema}.${name}`
}

function lowest(positions: readonly (bigint | null)[]): bigint | null {
  let low: bigint | null = positions[0] ?? null
  for (const position of positions) {
    if (position === null || low === null) return null
    if (position < low) low = position
  }
  return low
}

function textOf(position: bigint | null): string | null {
  return position === null ? null : formatLsn(asLsn(position))
}
