import type { Intent, IntentOutcome, Intents } from '../dualwrite/intents.ts'
import type { Sql } from '../model/sql.ts'

/** The intents of second legs in the control database. */
export function intentStore(sql: Sql): Intents {
  return {
    async open(intent: Intent) {
      await sql.query(
        `insert into migrate.intent (key, service, epoch, method, path, instance) values ($1, $2, $3, $4, $5, $6)`,
        [intent.key, intent.service, intent.epoch, intent.method, intent.path, intent.instance],
      )
    },
    async settle(key: string, outcome: IntentOutcome) {
      const status = outcome.state === 'answered' ? outcome.status : null
      const verdict = outcome.state === 'answered' ? outcome.verdict : outcome.why
      await sql.query(
        `update migrate.intent set state = $2, status = $3, verdict = $4, settled_at = clock_timestamp()
         where key = $1 and state = 'open'`,
        [key, outcome.state, status, verdict],
      )
    },
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

export async function markRevoked(sql: Sql, keys: readonly string[]): Promise<void> {
  await sql.query(
    `update migrate.intent set state = 'revoked', settled_at = clock_timestamp()
     where key = any($1::uuid[]) and state = 'open'`,
    [keys],
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
