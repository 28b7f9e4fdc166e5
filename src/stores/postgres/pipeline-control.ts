import { NOTE } from '../../model/change.ts'
import type { Database } from '../../model/sql.ts'
import { CHECKPOINT_CHANNEL } from './checkpoint.ts'
import { keyFromJson } from './key-json.ts'

/** What a run may change of a pipeline's checkpoint row; what is left out stays. */
export interface PipelineChange {
  readonly hold?: boolean
  readonly graceMs?: number
  /** note the keys of all changes for this run; null = stop */
  readonly tracking?: number | null
  readonly state?: 'discard'
}

/** Changes a pipeline's row for a run. False: a newer run was here, or there is no such pipeline. */
export async function changePipeline(
  target: Database,
  pipeline: string,
  run: number,
  change: PipelineChange,
): Promise<boolean> {
  const { rowCount } = await target.query(
    `with changed as (
       update migrate.checkpoint set run = $2, hold = coalesce($3, hold), grace_ms = coalesce($4, grace_ms),
         tracking = case when $5 then $6::bigint else tracking end, state = coalesce($7, state)
       where pipeline = $1 and run <= $2 returning 1)
     select pg_notify('${CHECKPOINT_CHANNEL}', $1) from changed`,
    [
      pipeline,
      run,
      change.hold ?? null,
      change.graceMs ?? null,
      change.tracking !== undefined,
      change.tracking ?? null,
      change.state ?? null,
    ],
  )
  return rowCount === 1
}

/**
 * Seals a pipeline: its worker stops; it goes on only as the authority row says. With `start` the start token of the
 * other direction goes into this database's log in the same transaction. False: a newer run was here.
 */
export async function sealPipeline(
  target: Database,
  pipeline: string,
  run: number,
  start: { service: string; direction: 'forward' | 'reverse'; epoch: number } | null,
): Promise<boolean> {
  const { rowCount } = await target.query(
    `with sealed as (
       update migrate.checkpoint set state = 'sealed', epoch = epoch + 1, run = $2
       where pipeline = $1 and run <= $2 returning 1)
     select case when $3::text is not null then pg_logical_emit_message(true, '${NOTE.start}', $3) end,
       pg_notify('${CHECKPOINT_CHANNEL}', $1) from sealed`,
    [pipeline, run, start === null ? null : `${start.service} ${start.direction} ${run} ${start.epoch}`],
  )
  return rowCount === 1
}

/** Writes a token into this database's log. Returns its text, as the sink will note it. */
export async function emitToken(database: Database, service: string, run: number, mark: string): Promise<string> {
  const token = `${service} ${run} ${mark}`
  await database.query(`select pg_logical_emit_message(true, '${NOTE.token}', $1)`, [token])
  return token
}

/** Takes the keys that a pipeline has noted for a run out of this database. */
export async function takeTouched(target: Database, pipeline: string, run: number) {
  const { rows } = await target.query<{ relation: string; key: (string | null)[] }>(
    `delete from migrate.touched where pipeline = $1 and tracking = $2 returning relation, key`,
    [pipeline, run],
  )
  return rows.map((row) => ({ table: row.relation, key: keyFromJson(row.key) }))
}

/** Forgets what this run and earlier ones have noted. */
export async function clearTouched(target: Database, pipeline: string, run: number): Promise<void> {
  await target.query(`delete from migrate.touched where pipeline = $1 and tracking <= $2`, [pipeline, run])
}
