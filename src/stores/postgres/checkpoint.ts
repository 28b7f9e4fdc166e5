import { createHash } from 'node:crypto'
import { MigrateError } from '../../errors.ts'
import { asLsn, formatLsn, type Lsn } from '../../model/lsn.ts'
import type { PipelineState } from '../../model/progress.ts'
import type { Sql } from '../../model/sql.ts'
import type { Checkpoint } from '../../sync/ports.ts'

export const CHECKPOINT_CHANNEL = 'migrate_checkpoint'

interface CheckpointRow {
  readonly epoch: number
  readonly state: PipelineState
  readonly at: string
  readonly hold: boolean
  readonly graceMs: number
  readonly tracking: number | null
  readonly authorityEpoch: number | null
  readonly token: string | null
  readonly sourceSystem: string
}

const COLUMNS = `epoch::float8 as epoch, state, (commit_lsn - '0/0')::text as at, hold, grace_ms as "graceMs",
  tracking::float8 as tracking, authority_epoch::float8 as "authorityEpoch", token, source_system as "sourceSystem"`

/** The checkpoint row of a pipeline; null when it was never started. */
export async function readCheckpoint(
  sql: Sql,
  pipeline: string,
): Promise<(Checkpoint & { sourceSystem: string }) | null> {
  const { rows } = await sql.query<CheckpointRow>(`select ${COLUMNS} from migrate.checkpoint where pipeline = $1`, [
    pipeline,
  ])
  const row = rows[0]
  return row === undefined ? null : { ...row, commitLsn: asLsn(BigInt(row.at)) }
}

export interface NewCheckpoint {
  readonly pipeline: string
  readonly state: PipelineState
  readonly at: Lsn
  readonly sourceSystem: string
  /** null = the next start notes them */
  readonly sourceTimeline?: number | null
  readonly publication?: string | null
}

/** Fails when there is one: another worker was faster. */
export async function createCheckpoint(sql: Sql, row: NewCheckpoint): Promise<void> {
  await sql.query(
    `insert into migrate.checkpoint (pipeline, epoch, state, commit_lsn, source_system, source_timeline, publication)
     values ($1, 0, $2, $3, $4, $5, $6)`,
    valuesOf(row),
  )
}

/** Begins anew, in place of what is there; whoever has claimed that writes nothing any more. */
export async function renewCheckpoint(sql: Sql, row: NewCheckpoint): Promise<void> {
  await sql.query(
    `insert into migrate.checkpoint (pipeline, epoch, state, commit_lsn, source_system, source_timeline, publication)
     values ($1, 0, $2, $3, $4, $5, $6)
     on conflict (pipeline) do update set epoch = checkpoint.epoch + 1, state = excluded.state,
       commit_lsn = excluded.commit_lsn, ordinal = 0, hold = false, grace_ms = 0, token = null, authority_epoch = null,
       tracking = null, source_system = excluded.source_system, source_timeline = excluded.source_timeline,
       publication = excluded.publication, updated_at = clock_timestamp()`,
    valuesOf(row),
  )
}

/** Goes on behind a slot that was made again, dropping what it reads until a start token. False = it was claimed anew. */
export async function discardFrom(sql: Sql, row: Omit<NewCheckpoint, 'state'>): Promise<boolean> {
  const { rowCount } = await sql.query(
    `update migrate.checkpoint set epoch = epoch + 1, state = $2, commit_lsn = $3, ordinal = 0, token = null,
       authority_epoch = null, source_system = $4, source_timeline = $5, publication = $6
     where pipeline = $1 and state <> 'sealed'`,
    valuesOf({ ...row, state: 'discard' }),
  )
  return rowCount === 1
}

function valuesOf(row: NewCheckpoint): unknown[] {
  const { pipeline, state, at, sourceSystem, sourceTimeline = null, publication = null } = row
  return [pipeline, state, formatLsn(at), sourceSystem, sourceTimeline, publication]
}

/** What the authority row says when a sealed pipeline is claimed. */
export type SealedAnswer = { readonly state: 'apply' | 'discard'; readonly authorityEpoch: number | null } | 'wait'

/**
 * Claims the pipeline for a new worker: sessions of earlier workers are ended and the epoch grows. A sealed one
 * goes on as `unseal` says; 'wait' returns null and changes nothing.
 */
export async function claimCheckpoint(
  sql: Sql,
  pipeline: string,
  unseal: () => Promise<SealedAnswer>,
): Promise<(Checkpoint & { sourceSystem: string }) | null> {
  const found = await readCheckpoint(sql, pipeline)
  if (found === null) throw new MigrateError('INTERNAL', { reason: `no checkpoint of ${pipeline}` })
  const next = found.state === 'sealed' ? await unseal() : { state: found.state, authorityEpoch: found.authorityEpoch }
  if (next === 'wait') return null
  await sql.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where starts_with(application_name, $1 || '/') and pid <> pg_backend_pid() and usename = current_user`,
    [applicationName(pipeline)],
  )
  const { rows } = await sql.query<CheckpointRow>(
    `update migrate.checkpoint set epoch = epoch + 1, state = $2, authority_epoch = $3
     where pipeline = $1 and epoch = $4 and state = $5 returning ${COLUMNS}`,
    [pipeline, next.state, next.authorityEpoch, found.epoch, found.state],
  )
  const row = rows[0]
  if (row === undefined) throw new MigrateError('TAKEN_OVER', { what: `the pipeline ${pipeline}` })
  return { ...row, commitLsn: asLsn(BigInt(row.at)) }
}

/** `migrate/<pipeline>`; a worker's sessions add to it. Short enough for PostgreSQL to keep all of it, and unique. */
export function applicationName(pipeline: string): string {
  const name = `migrate/${pipeline}`
  if (Buffer.byteLength(name) <= LONGEST_NAME) return name
  const digest = createHash('sha256').update(pipeline).digest('hex').slice(0, 12)
  return `${Buffer.from(name)
    .subarray(0, LONGEST_NAME - 13)
    .toString('latin1')
    .replace(/[^ -~]/g, '?')}~${digest}`
}

/** Of the 63 bytes that PostgreSQL keeps; the rest is for `/stream`, `/copy` or an epoch. */
const LONGEST_NAME = 48
