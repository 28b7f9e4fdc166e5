import { formatLsn, type Lsn } from '../model/lsn.ts'
import type { Sql } from '../model/sql.ts'

/** Second legs that may still run in the service. */
export async function countUnsettled(sql: Sql, service: string): Promise<number> {
  const { rows } = await sql.query<{ count: number }>(
    `select count(*)::int as count from migrate.intent where service = $1 and state = 'unsettled'`,
    [service],
  )
  return rows[0]?.count ?? 0
}

/**
 * Unsettled legs whose request has certainly ended: given up so long ago or, where the router did not live to say so,
 * so long after it must have had the monolith's answer; milliseconds.
 */
export async function endedUnsettled(
  sql: Sql,
  service: string,
  times: { readonly maxRequest: number; readonly longestAnswer: number },
): Promise<string[]> {
  const { rows } = await sql.query<{ key: string }>(
    `select key from migrate.intent where service = $1 and state = 'unsettled'
       and coalesce(given_up_at, opened_at + $3 * interval '1 millisecond')
         < clock_timestamp() - $2 * interval '1 millisecond'`,
    [service, times.maxRequest, times.longestAnswer],
  )
  return rows.map(({ key }) => key)
}

export async function markSettled(sql: Sql, keys: readonly string[]): Promise<void> {
  await sql.query(
    `update migrate.intent set state = 'settled', settled_at = clock_timestamp()
     where key = any($1::uuid[]) and state = 'unsettled'`,
    [keys],
  )
}

/** Seconds since the oldest leg was opened that may still need its keys; null = there is none. */
export async function oldestUnsettled(sql: Sql, service: string): Promise<number | null> {
  const { rows } = await sql.query<{ age: number | null }>(
    `select extract(epoch from clock_timestamp() - min(opened_at))::float8 as age
     from migrate.intent where service = $1 and state in ('open', 'unsettled')`,
    [service],
  )
  return rows[0]?.age ?? null
}

/** Is there a revoked leg of which nobody has said where the monolith's log was, opened so long ago? Milliseconds. */
export async function lacksPosition(sql: Sql, service: string, olderThan: number): Promise<boolean> {
  const { rowCount } = await sql.query(`select 1 from migrate.intent ${LACKING} limit 1`, [service, olderThan])
  return rowCount > 0
}

/** Gives those the position `at`, which is read after their requests have certainly ended. */
export async function givePosition(sql: Sql, service: string, olderThan: number, at: Lsn): Promise<void> {
  await sql.query(`update migrate.intent set source_lsn = $3 ${LACKING}`, [service, olderThan, formatLsn(at)])
}

const LACKING = `where service = $1 and state = 'revoked' and source_lsn is null
  and opened_at < clock_timestamp() - $2 * interval '1 millisecond'`
