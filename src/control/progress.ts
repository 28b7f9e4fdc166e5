import { asLsn, formatLsn, type Lsn } from '../model/lsn.ts'
import type { Sql } from '../model/sql.ts'
import type { Direction, Progress } from '../model/progress.ts'
import { POLICY_CHANNEL } from './services.ts'

/** Publishes where a worker stands; `tell` also wakes the routers, for their read marks. */
export async function writeProgress(sql: Sql, progress: Progress, tell: boolean): Promise<void> {
  await sql.query(
    `insert into migrate.progress (service, direction, worker, epoch, phase, state, applied, source, hold, counters, lag_seconds,
       throttled, wal_end, wal_rate, seen_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, clock_timestamp())
     on conflict (service, direction) do update set worker = excluded.worker, epoch = excluded.epoch,
       phase = excluded.phase, state = excluded.state, applied = excluded.applied, source = excluded.source,
       hold = excluded.hold, counters = excluded.counters, lag_seconds = excluded.lag_seconds,
       throttled = excluded.throttled, wal_end = excluded.wal_end, wal_rate = excluded.wal_rate,
       seen_at = excluded.seen_at
     where progress.epoch <= excluded.epoch`,
    [
      progress.service,
      progress.direction,
      progress.worker,
      progress.epoch,
      progress.phase,
      progress.state,
      progress.applied === null ? null : formatLsn(progress.applied),
      progress.source === null ? null : formatLsn(progress.source),
      progress.hold,
      JSON.stringify(progress.counters),
      progress.lagSeconds,
      progress.throttled,
      progress.walEnd === null ? null : formatLsn(progress.walEnd),
      progress.walRate,
    ],
  )
  if (tell) await sql.query(`select pg_notify('${POLICY_CHANNEL}', 'progress')`)
}

/**
 * What the worker of a pipeline said last, with its age in seconds; null when none ever ran. A schema that an earlier
 * version has installed lacks some of it: `status` installs nothing.
 */
export async function readProgress(sql: Sql, service: string, direction: Direction) {
  const { rows } = await sql.query<
    Omit<Progress, Positions> & { [name in Positions]: string | null } & { age: number }
  >(
    `select service, direction, worker, epoch::float8 as epoch, phase, state, (applied - '0/0')::text as applied,
       (source - '0/0')::text as source, hold, counters,
       (to_jsonb(p) ->> 'lag_seconds')::float8 as "lagSeconds", to_jsonb(p) ->> 'throttled' as throttled,
       ((to_jsonb(p) ->> 'wal_end')::pg_lsn - '0/0')::text as "walEnd", (to_jsonb(p) ->> 'wal_rate')::float8 as "walRate",
       extract(epoch from clock_timestamp() - seen_at)::float8 as age
     from migrate.progress p where service = $1 and direction = $2`,
    [service, direction],
  )
  const row = rows[0]
  if (row === undefined) return null
  return { ...row, applied: lsn(row.applied), source: lsn(row.source), walEnd: lsn(row.walEnd) }
}

type Positions = 'applied' | 'source' | 'walEnd'

function lsn(text: string | null): Lsn | null {
  return text === null ? null : asLsn(BigInt(text))
}
