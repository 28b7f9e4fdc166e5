import pg from 'pg'
import { asLsn, type Lsn, parseLsn, ZERO_LSN } from '../../model/lsn.ts'
import type { Sql } from '../../model/sql.ts'
import { clientConfig, type DatabaseOptions } from './database.ts'
import { quote, quoteLiteral } from './identifier.ts'
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
  readonly walStatus: string
  /** it belongs to this database and to our plugin */
  readonly usable: boolean
  readonly confirmed: Lsn
  /** bytes of the log that the slot holds back */
  readonly retained: number
  /** bytes that may still be written before the server may take the log from it; null = no limit */
  readonly room: number | null
}

/** The log of a server, with one slot. */
export interface LogReading {
  /** end of what is on its disk */
  readonly walEnd: Lsn
  /** max_slot_wal_keep_size in bytes; null = unlimited */
  readonly cap: number | null
  readonly slot: SlotInfo | null
}

export async function readLog(sql: Sql, slot: string): Promise<LogReading> {
  const { rows } = await sql.query<{
    end: string
    cap: number | null
    slot: (Omit<SlotInfo, 'confirmed'> & { at: string }) | null
  }>(
    `with log as (select ${WAL_END} as wal_end)
     select (wal_end - '0/0')::text as "end",
       (select nullif(setting::float8, -1) * 1048576 from pg_settings where name = 'max_slot_wal_keep_size') as cap,
       (select json_build_object('active', active, 'walStatus', coalesce(wal_status, 'lost'),
          'usable', plugin = 'pgoutput' and database = current_database(), 'room', safe_wal_size,
          'at', (coalesce(confirmed_flush_lsn, '0/0') - '0/0')::text,
          'retained', coalesce(greatest(pg_wal_lsn_diff(wal_end, restart_lsn), 0), 0))
        from pg_replication_slots where slot_name = $1) as slot
     from log`,
    [slot],
  )
  const row = rows[0]
  if (row === undefined) return { walEnd: ZERO_LSN, cap: null, slot: null }
  const { end, cap, slot: found } = row
  return {
    walEnd: asLsn(BigInt(end)),
    cap,
    slot: found === null ? null : { ...found, confirmed: asLsn(BigInt(found.at)) },
  }
}

export async function readSlot(sql: Sql, slot: string): Promise<SlotInfo | null> {
  return (await readLog(sql, slot)).slot
}

/** A standby answers too: whoever fails over must get an answer, not an error of the server. */
export const WAL_END = `case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end`

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

/** Makes a slot without a snapshot; returns where it begins. */
export async function makeSlot(sql: Sql, slot: string): Promise<Lsn> {
  const { rows } = await sql.query<{ at: string }>(
    `select (lsn - '0/0')::text as at from pg_create_logical_replication_slot(${quoteLiteral(slot)}, 'pgoutput')`,
  )
  return asLsn(BigInt(rows[0]?.at ?? '0'))
}
