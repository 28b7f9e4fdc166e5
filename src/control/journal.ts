import { MigrateError } from '../errors.ts'
import type { Database, Sql } from '../model/sql.ts'

export type RunKind = 'cutover' | 'rollback'

/** A cutover or rollback in the journal. */
export interface Run {
  readonly id: number
  readonly service: string
  readonly kind: RunKind
  /** fencing token of the lease under which it began */
  readonly fencing: number
  /** epoch of the authority row before its switch */
  readonly epoch: number
  readonly state: 'running' | 'done' | 'aborted'
}

const RUN = `id::float8 as id, service, kind, fencing::float8 as fencing, epoch::float8 as epoch, state`

export async function unfinishedRun(sql: Sql, service: string): Promise<Run | null> {
  const { rows } = await sql.query<Run>(`select ${RUN} from migrate.run where service = $1 and state = 'running'`, [
    service,
  ])
  return rows[0] ?? null
}

/** Begins a run under a lease. Throws TAKEN_OVER when somebody else holds that by now. */
export async function openRun(
  sql: Sql,
  lease: { name: string; epoch: number },
  run: { service: string; kind: RunKind; epoch: number },
): Promise<Run> {
  const { rows } = await sql.query<Run>(
    `insert into migrate.run (service, kind, fencing, epoch)
     select $1, $2, l.epoch, $3 from migrate.lease l where l.name = $4 and l.epoch = $5 for share returning ${RUN}`,
    [run.service, run.kind, run.epoch, lease.name, lease.epoch],
  )
  if (rows[0] === undefined) throw new MigrateError('TAKEN_OVER', { what: lease.name })
  return rows[0]
}

/** What a process says that the run was taken from changes nothing. */
export async function closeRun(sql: Sql, run: Run, state: 'done' | 'aborted', reason: string): Promise<void> {
  await sql.query(
    `update migrate.run set state = $3, reason = $4, ended_at = clock_timestamp()
     where id = $1 and state = 'running' and fencing = $2`,
    [run.id, run.fencing, state, reason],
  )
}

/** Whoever ends another process's run takes it first: from then on that process begins no step of it any more. */
export async function adoptRun(sql: Sql, run: Run, fencing: number): Promise<Run> {
  const { rows } = await sql.query<Run>(
    `update migrate.run set fencing = $2 where id = $1 and state = 'running' and fencing <= $2 returning ${RUN}`,
    [run.id, fencing],
  )
  if (rows[0] === undefined) throw new MigrateError('TAKEN_OVER', { what: `the ${run.kind} of ${run.service}` })
  return rows[0]
}

/** Throws TAKEN_OVER when the run has ended or belongs to another process now. */
export async function beginStep(sql: Sql, run: Run, name: string): Promise<void> {
  const { rowCount } = await sql.query(
    `insert into migrate.step (run, name)
     select id, $2 from migrate.run where id = $1 and state = 'running' and fencing = $3
     on conflict (run, name) do update set started_at = clock_timestamp(), done_at = null`,
    [run.id, name, run.fencing],
  )
  if (rowCount !== 1) throw new MigrateError('TAKEN_OVER', { what: `the ${run.kind} of ${run.service}` })
}

export async function endStep(sql: Sql, run: Run, name: string, data: object): Promise<void> {
  await sql.query(
    `update migrate.step set done_at = clock_timestamp(), data = $4
     where run = (select id from migrate.run where id = $1 and fencing = $2) and name = $3`,
    [run.id, run.fencing, name, JSON.stringify(data)],
  )
}

/** The last run of a service, for `status`. */
export async function lastRun(database: Database, service: string) {
  const { rows } = await database.query<Run & { reason: string | null; startedAt: string; seconds: number | null }>(
    `select ${RUN}, reason, started_at::text as "startedAt",
       extract(epoch from ended_at - started_at)::float8 as seconds
     from migrate.run where service = $1 order by id desc limit 1`,
    [service],
  )
  return rows[0] ?? null
}

/** Milliseconds since the service's last rollback ended; null = it never had one. */
export async function sinceRollback(sql: Sql, service: string): Promise<number | null> {
  const { rows } = await sql.query<{ since: number | null }>(
    `select (extract(epoch from clock_timestamp() - max(ended_at)) * 1000)::float8 as since
     from migrate.run where service = $1 and kind = 'rollback' and state = 'done'`,
    [service],
  )
  return rows[0]?.since ?? null
}
