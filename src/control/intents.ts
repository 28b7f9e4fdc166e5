import type { DeadLetter } from '../dualwrite/dead-letter.ts'
import type { Intent, IntentOutcome, Intents, LegProgress } from '../dualwrite/intents.ts'
import { formatLsn, type Lsn } from '../model/lsn.ts'
import type { Sql } from '../model/sql.ts'
import { bury } from './dead-letters.ts'

/** The intents of second legs in the control database. */
export function intentStore(sql: Sql): Intents {
  return {
    async open(intent: Intent) {
      await sql.query(
        `insert into migrate.intent (key, service, epoch, method, path, instance) values ($1, $2, $3, $4, $5, $6)`,
        [intent.key, intent.service, intent.epoch, intent.method, intent.path, intent.instance],
      )
    },
    async settle(key: string, outcome: IntentOutcome, progress?: LegProgress) {
      const status = outcome.state === 'answered' ? outcome.status : null
      const verdict = outcome.state === 'answered' ? outcome.verdict : outcome.state === 'skipped' ? outcome.why : null
      await sql.query(
        `update migrate.intent set settled_at = clock_timestamp(), given_up_at = clock_timestamp(), attempts = $5, error = $6, source_lsn = $7,
           state = case state when 'open' then $2 else state end,
           status = case state when 'open' then $3 else status end,
           verdict = case state when 'open' then $4 else verdict end
         where key = $1`,
        [
          key,
          outcome.state,
          status,
          verdict,
          progress?.attempts ?? 0,
          progress?.error ?? null,
          lsn(progress?.sourceLsn),
        ],
      )
    },
    async note(progress: ReadonlyMap<string, LegProgress>) {
      const all = [...progress.values()]
      await sql.query(
        `update migrate.intent i set attempts = n.attempts, error = n.error, source_lsn = n.lsn,
           given_up_at = case when n.given_up then clock_timestamp() end
         from unnest($1::uuid[], $2::int[], $3::text[], $4::pg_lsn[], $5::bool[]) n(key, attempts, error, lsn, given_up)
         where i.key = n.key`,
        [
          [...progress.keys()],
          all.map(({ attempts }) => attempts),
          all.map(({ error }) => error),
          all.map(({ sourceLsn }) => lsn(sourceLsn)),
          all.map(({ givenUp }) => givenUp),
        ],
      )
    },
    bury: (letter: DeadLetter) => bury(sql, letter),
  }
}

/** Keys of the service's open legs, oldest first; `olderThan` in milliseconds. */
export async function openIntents(sql: Sql, service: string, olderThan = 0): Promise<string[]> {
  const { rows } = await sql.query<{ key: string }>(
    `select key from migrate.intent where service = $1 and state = 'open'
       and opened_at <= clock_timestamp() - $2 * interval '1 millisecond' order by key`,
    [service, olderThan],
  )
  return rows.map((row) => row.key)
}

/** The sink has taken these keys; `to` is unsettled where that keeps no leg from running. */
export async function markRevoked(sql: Sql, keys: readonly string[], to: 'revoked' | 'unsettled'): Promise<void> {
  await sql.query(
    `update migrate.intent set state = $2, settled_at = clock_timestamp()
     where key = any($1::uuid[]) and state = 'open'`,
    [keys, to],
  )
}

/** The sync has applied everything up to here. */
export async function markSuperseded(sql: Sql, service: string, applied: Lsn): Promise<void> {
  await sql.query(
    `update migrate.intent set state = 'superseded' where service = $1 and state = 'revoked' and source_lsn <= $2`,
    [service, formatLsn(applied)],
  )
}

/** Legs since `seconds` ago by state and verdict. */
export async function legCounts(sql: Sql, service: string, seconds: number) {
  const { rows } = await sql.query<{ state: string; verdict: string | null; count: number }>(
    `select state, case when state = 'answered' then verdict end as verdict, count(*)::int as count from migrate.intent
     where service = $1 and opened_at > clock_timestamp() - $2 * interval '1 second' group by 1, 2`,
    [service, seconds],
  )
  return rows
}

function lsn(position: Lsn | null | undefined): string | null {
  return position === null || position === undefined ? null : formatLsn(position)
}
