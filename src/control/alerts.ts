import type { AlertMemory, AlertName } from '../model/alert.ts'
import type { Sql } from '../model/sql.ts'

/** A raised alert that nobody has been told of is told again by whoever raises it after so many seconds. */
const UNTOLD = 60

/** One row an alert: of several workers that raise the same, one gets true. */
export function alertMemory(sql: Sql): AlertMemory {
  return {
    async raise({ name, service, summary, next }) {
      if (!(await isInstalled(sql))) return true
      const { rowCount } = await sql.query(
        `insert into migrate.alert (name, service, summary, next, raised_at, tried_at)
         values ($1, $2, $3, $4, clock_timestamp(), clock_timestamp())
         on conflict (name, service) do update set summary = excluded.summary, next = excluded.next,
           raised_at = case when alert.resolved_at is null then alert.raised_at else excluded.raised_at end,
           tried_at = excluded.tried_at, told_at = null, resolved_at = null
         where alert.resolved_at is not null
           or alert.told_at is null and alert.tried_at < clock_timestamp() - $5 * interval '1 second'`,
        [name, service, summary, next, UNTOLD],
      )
      return rowCount === 1
    },
    async told(name, service) {
      if (!(await isInstalled(sql))) return
      await sql.query(
        `update migrate.alert set told_at = clock_timestamp() where name = $1 and service = $2 and told_at is null`,
        [name, service],
      )
    },
    async resolve(name, service) {
      if (!(await isInstalled(sql))) return false
      const { rowCount } = await sql.query(
        `update migrate.alert set resolved_at = clock_timestamp()
         where name = $1 and service = $2 and resolved_at is null`,
        [name, service],
      )
      return rowCount === 1
    },
  }
}

export interface OpenAlert {
  readonly name: AlertName
  readonly summary: string
  readonly next: string
  /** seconds since it was raised */
  readonly age: number
}

/** What is raised for a service and not resolved. */
export async function openAlerts(sql: Sql, service: string): Promise<OpenAlert[]> {
  if (!(await isInstalled(sql))) return []
  const { rows } = await sql.query<OpenAlert>(
    `select name, summary, next, extract(epoch from clock_timestamp() - raised_at)::float8 as age
     from migrate.alert where service = $1 and resolved_at is null order by name`,
    [service],
  )
  return rows
}

/** A worker may fail before our schema is there, or beside one of an earlier version. */
async function isInstalled(sql: Sql): Promise<boolean> {
  const { rows } = await sql.query<{ present: boolean }>(`select to_regclass('migrate.alert') is not null as present`)
  return rows[0]?.present === true
}
