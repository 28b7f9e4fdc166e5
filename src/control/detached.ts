import { asLsn, formatLsn, type Lsn } from '../model/lsn.ts'
import type { Direction } from '../model/progress.ts'
import type { Sql } from '../model/sql.ts'

/** A slot that was given up, so that the disk of its server stays safe. */
export interface Detached {
  readonly service: string
  readonly direction: Direction
  readonly slot: string
  /** what the target had confirmed: everything later is missing in it */
  readonly position: Lsn
  /** bytes of the log that the slot kept, and the limit */
  readonly retained: number
  readonly limit: number
}

/** Notes that a slot is about to be dropped, with one audit row. */
export async function noteDetached(sql: Sql, who: string, detached: Detached): Promise<void> {
  const { service, direction, slot, position, retained, limit } = detached
  await sql.query(
    `with noted as (
       insert into migrate.detached (service, direction, slot, position, retained, bytes_limit)
       values ($1, $2, $3, $4, $5::float8::bigint, $6::float8::bigint)
       on conflict (service, direction) do update set slot = excluded.slot, position = excluded.position,
         retained = excluded.retained, bytes_limit = excluded.bytes_limit, at = excluded.at
       returning *)
     insert into migrate.audit (who, service, action, after) select $7, service, 'detach', to_jsonb(noted) from noted`,
    [service, direction, slot, formatLsn(position), retained, limit, who],
  )
}

/** The note about a pipeline's slot, with its time (UTC, to the second); null = there is none. */
export async function readDetached(
  sql: Sql,
  service: string,
  direction: Direction,
): Promise<(Detached & { readonly at: string }) | null> {
  const { rows } = await sql.query<Omit<Detached, 'position'> & { readonly from: string; readonly at: string }>(
    `select service, direction, slot, (position - '0/0')::text as "from", retained::float8 as retained,
       bytes_limit::float8 as "limit", to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') as at
     from migrate.detached where service = $1 and direction = $2`,
    [service, direction],
  )
  const row = rows[0]
  return row === undefined ? null : { ...row, position: asLsn(BigInt(row.from)) }
}

/** The pipeline has a slot again. */
export async function forgetDetached(sql: Sql, service: string, direction: Direction): Promise<void> {
  await sql.query(`delete from migrate.detached where service = $1 and direction = $2`, [service, direction])
}
