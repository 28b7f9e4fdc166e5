import { MigrateError } from '../errors.ts'
import type { DeadLetter } from '../dualwrite/dead-letter.ts'
import { formatLsn } from '../model/lsn.ts'
import type { Database, Sql } from '../model/sql.ts'
import { POLICY_CHANNEL } from './services.ts'

export type LetterState = 'open' | 'resolved' | 'discarded'

/** A dead letter as it is shown. */
export interface StoredLetter {
  readonly id: string
  readonly kind: 'dual-write'
  readonly service: string
  readonly method: string
  readonly path: string
  readonly route: string
  readonly entity: string | null
  readonly epoch: number
  readonly code: string
  readonly error: string | null
  readonly monolithStatus: number
  readonly serviceStatus: number | null
  readonly attempts: number
  readonly sourceLsn: string | null
  readonly createdAt: string
  /** seconds */
  readonly age: number
  readonly state: LetterState
  readonly resolvedBy: string | null
  readonly resolvedAt: string | null
  /** of the whole body */
  readonly bodyBytes: number
}

/** Keeps a leg as a dead letter, and tells the routers: it may halt a route. Once a leg. */
export async function bury(sql: Sql, letter: DeadLetter): Promise<void> {
  await sql.query(
    `with kept as (
       insert into migrate.dead_letter (kind, key, service, method, path, route, entity, epoch, code, error,
         monolith_status, service_status, attempts, source_lsn, body, body_bytes)
       values ('dual-write', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
       on conflict (key) do nothing returning 1)
     select pg_notify('${POLICY_CHANNEL}', '') from kept`,
    [
      ...[letter.key, letter.service, letter.method, letter.path, letter.route, letter.entity, letter.epoch],
      ...[letter.code, letter.error, letter.monolithStatus, letter.serviceStatus, letter.attempts],
      letter.sourceLsn === null ? null : formatLsn(letter.sourceLsn),
      ...[letter.body, letter.bodyBytes],
    ],
  )
}

/** The letters in the order in which they came; `service` null = of all. */
export async function listLetters(sql: Sql, service: string | null, states: readonly LetterState[], limit: number) {
  const { rows } = await sql.query<StoredLetter>(
    `${SELECT} where ($1::text is null or service = $1) and state = any($2) order by dead_letter.id limit $3`,
    [service, states, limit],
  )
  return rows
}

/** These letters in the order of the ids. Throws DEAD_LETTER_UNKNOWN. */
export async function readLetters(sql: Sql, ids: readonly string[]): Promise<StoredLetter[]> {
  const { rows } = await sql.query<StoredLetter>(`${SELECT} where dead_letter.id = any($1::bigint[])`, [ids])
  return ids.map((id) => {
    const found = rows.find((row) => row.id === id)
    if (found === undefined) throw new MigrateError('DEAD_LETTER_UNKNOWN', { id })
    return found
  })
}

/** The beginning of the request's body. */
export async function readBody(sql: Sql, id: string): Promise<Buffer | null> {
  const { rows } = await sql.query<{ body: Buffer | null }>(`select body from migrate.dead_letter where id = $1`, [id])
  return rows[0]?.body ?? null
}

export async function countOpen(sql: Sql, service: string): Promise<number> {
  const { rows } = await sql.query<{ count: number }>(
    `select count(*)::int as count from migrate.dead_letter where service = $1 and state = 'open'`,
    [service],
  )
  return rows[0]?.count ?? 0
}

/** Closes those of the letters that are still open, with one audit row each; their routes go on. Returns their ids. */
export async function closeLetters(
  database: Database,
  ids: readonly string[],
  to: 'resolved' | 'discarded',
  who: string,
): Promise<string[]> {
  return database.transaction(async (sql) => {
    const { rows } = await sql.query<{ id: string }>(
      `with closed as (
         update migrate.dead_letter set state = $2, resolved_by = $3, resolved_at = clock_timestamp()
         where id = any($1::bigint[]) and state = 'open' returning id, service, code),
       noted as (
         insert into migrate.audit (who, service, action, before, after)
         select $3, service, format('dlq %s', id), jsonb_build_object('state', 'open', 'code', code),
           jsonb_build_object('state', $2::text) from closed)
       select id::text as id from closed order by closed.id`,
      [ids, to, who],
    )
    await sql.query(`select pg_notify('${POLICY_CHANNEL}', '')`)
    return rows.map(({ id }) => id)
  })
}

const SELECT = `
  select id::text as id, kind, service, method, path, route, entity, epoch::float8 as epoch, code, error,
    monolith_status as "monolithStatus", service_status as "serviceStatus", attempts, source_lsn::text as "sourceLsn",
    created_at::text as "createdAt", extract(epoch from clock_timestamp() - created_at)::float8 as age, state,
    resolved_by as "resolvedBy", resolved_at::text as "resolvedAt", body_bytes as "bodyBytes"
  from migrate.dead_letter`
