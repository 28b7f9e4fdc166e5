import type { Database, Sql } from '../model/sql.ts'
import type { Audit } from './services.ts'

/** What a person has asked of the sync of a service. */
export interface SyncControl {
  readonly paused: Paused | null
  /** bytes a second; null = as configured, 0 = no limit */
  readonly rate: number | null
  /** statements at work in the monolith's database; null = as configured, 0 = no limit */
  readonly sessions: number | null
}

export interface Paused {
  readonly by: string
  /** UTC, to the second */
  readonly since: string
  readonly reason: string | null
}

/** What a change sets; what is left out stays. */
export interface SyncControlChange {
  readonly paused?: boolean
  readonly rate?: number | null
  readonly sessions?: number | null
}

export const SYNC_CHANNEL = 'migrate_sync'

const NOTHING: SyncControl = { paused: null, rate: null, sessions: null }

export async function readSyncControl(sql: Sql, service: string): Promise<SyncControl> {
  const { rows } = await sql.query<SyncControl>(
    `select case when paused_at is not null then json_build_object('by', paused_by, 'reason', pause_reason,
         'since', to_char(paused_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')) end as paused,
       rate::float8 as rate, sessions
     from migrate.sync_control where service = $1`,
    [service],
  )
  return rows[0] ?? NOTHING
}

/** Changes it with one audit row, and tells the worker. A pause that is on keeps who asked for it, and why. */
export async function changeSyncControl(
  database: Database,
  service: string,
  change: SyncControlChange,
  { who, action, reason }: Audit,
): Promise<SyncControl> {
  return database.transaction(async (sql) => {
    await sql.query(`insert into migrate.sync_control (service) values ($1) on conflict do nothing`, [service])
    await sql.query(`select 1 from migrate.sync_control where service = $1 for update`, [service])
    const before = await readSyncControl(sql, service)
    const rate = change.rate === undefined ? before.rate : change.rate
    const sessions = change.sessions === undefined ? before.sessions : change.sessions
    await sql.query(`update migrate.sync_control set rate = $2, sessions = $3 where service = $1`, [
      ...[service, rate, sessions],
    ])
    if (change.paused === true && before.paused === null) {
      await sql.query(
        `update migrate.sync_control set paused_at = clock_timestamp(), paused_by = $2, pause_reason = $3
         where service = $1`,
        [service, who, reason ?? null],
      )
    }
    if (change.paused === false) {
      await sql.query(
        `update migrate.sync_control set paused_at = null, paused_by = null, pause_reason = null where service = $1`,
        [service],
      )
    }
    const after = await readSyncControl(sql, service)
    await sql.query(
      `insert into migrate.audit (who, service, action, before, after, reason) values ($1, $2, $3, $4, $5, $6)`,
      [who, service, action, JSON.stringify(before), JSON.stringify(after), reason ?? null],
    )
    await sql.query(`select pg_notify('${SYNC_CHANNEL}', $1)`, [service])
    return after
  })
}
