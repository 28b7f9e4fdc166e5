import pg from 'pg'
import { asLsn, type Lsn, parseLsn } from '../../model/lsn.ts'
import type { Sql } from '../../model/sql.ts'
import { clientConfig, type DatabaseOptions } from './database.ts'
import { quote } from './identifier.ts'
import { parseLogin } from './login.ts'
import { translate } from './translate.ts'

/** A slot that was just made. Its snapshot lives until disposed. */
export interface NewSlot extends AsyncDisposable {
  /** every transaction that commits before this is in the snapshot, every later one in the stream */
  readonly consistentPoint: Lsn
  readonly snapshot: string
}

/** Creates a logical slot and exports the snapshot that belongs to it. */
export async function createSlot(options: DatabaseOptions, slot: string): Promise<NewSlot> {
  const login = parseLogin(options.url, options.role)
  const config = { ...clientConfig(login, { ...options, statementTimeout: 0 }), replication: 'database' }
  const client = new pg.Client(config)
  client.on('error', () => undefined)
  try {
    await client.connect()
    const { rows } = await client.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${quote(slot)} LOGICAL pgoutput (SNAPSHOT 'export')`,
    )
    const row = rows[0] as { consistent_point: string; snapshot_name: string }
    return {
      consistentPoint: parseLsn(row.consistent_point),
      snapshot: row.snapshot_name,
      [Symbol.asyncDispose]: () => client.end(),
    }
  } catch (error) {
    await client.end().catch(() => undefined)
    throw translate(error, login)
  }
}

export interface SlotInfo {
  readonly active: boolean
  readonly activePid: number | null
  readonly walStatus: string
  readonly confirmed: Lsn
  /** bytes of WAL that the slot holds back */
  readonly retained: number
}

export async function readSlot(sql: Sql, slot: string): Promise<SlotInfo | null> {
  const { rows } = await sql.query<Omit<SlotInfo, 'confirmed'> & { at: string | null }>(
    `select active, active_pid as "activePid", coalesce(wal_status, 'lost') as "walStatus",
       (confirmed_flush_lsn - '0/0')::text as at,
       pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 as retained
     from pg_replication_slots where slot_name = $1`,
    [slot],
  )
  const row = rows[0]
  return row === undefined ? null : { ...row, confirmed: asLsn(BigInt(row.at ?? '0')) }
}

/** Ends the session that still uses the slot: an earlier worker of ours, dead or frozen. */
export async function freeSlot(sql: Sql, slot: string): Promise<void> {
  await sql.query(
    `select pg_terminate_backend(s.active_pid, 5000) from pg_replication_slots s
     join pg_stat_activity a on a.pid = s.active_pid
     where s.slot_name = $1 and a.usename = current_user`,
    [slot],
  )
}

export async function dropSlot(sql: Sql, slot: string): Promise<void> {
  await sql.query(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`, [slot])
}
