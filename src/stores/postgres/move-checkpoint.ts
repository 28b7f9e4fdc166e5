import type pg from 'pg'
import { NOTE } from '../../model/change.ts'
import { asLsn, formatLsn, type Lsn } from '../../model/lsn.ts'
import type { Direction } from '../../model/progress.ts'
import type { Database } from '../../model/sql.ts'
import type { Checkpoint, SinkBatch } from '../../sync/ports.ts'

/**
 * Compare-and-set of a pipeline's checkpoint row in the transaction that is open, or by itself; with `mark` also the
 * message by which streams know our own applies. False: the row is another one than the batch was made for.
 */
export async function moveCheckpoint(
  client: pg.Client,
  {
    pipeline,
    service,
    direction,
  }: { readonly pipeline: string; readonly service: string; readonly direction: Direction },
  { from, start, token }: SinkBatch,
  { to, mark }: { readonly to: Lsn; readonly mark: boolean },
): Promise<boolean> {
  const { rowCount } = await client.query({
    name: mark ? 'move_mark' : 'move',
    text: `with moved as (
        update migrate.checkpoint set commit_lsn = $2, token = coalesce($3, token), state = coalesce($4, state),
          authority_epoch = coalesce($5, authority_epoch), updated_at = clock_timestamp()
        where pipeline = $1 and epoch = $6 and commit_lsn = $7 and state = $8 and hold = $9 and grace_ms = $10
          and tracking is not distinct from $11
        returning 1)
      select ${mark ? `pg_logical_emit_message(true, '${NOTE.apply}', $12)` : '$12::text'} from moved`,
    values: [
      pipeline,
      formatLsn(to),
      token,
      start === null ? null : 'apply',
      start?.authorityEpoch ?? null,
      from.epoch,
      formatLsn(from.commitLsn),
      from.state,
      from.hold,
      from.graceMs,
      from.tracking,
      `${service} ${direction} ${from.epoch}`,
    ],
  })
  return rowCount === 1
}

/** Does a commit of this session not wait for the disk? */
export const WITHOUT_DISK = `current_setting('synchronous_commit') = 'off'`

/**
 * Makes durable everything that is committed, and returns the position of the checkpoint that this has taken in. The
 * position is read in the transaction that is flushed: after a crash it is the one that has survived. A commit waits for
 * the disk when it has a number and something in the log; a message outside of transactions makes no work for the stream
 * of the other direction.
 */
export async function flushCheckpoint(database: Database, pipeline: string, epoch: number): Promise<Lsn | null> {
  const { rows } = await database.query<{ at: string }>(
    `select (commit_lsn - '0/0')::text as at, pg_current_xact_id(), pg_logical_emit_message(false, 'migrate.flush', ''),
       case when ${WITHOUT_DISK} then set_config('synchronous_commit', 'on', true) end
     from migrate.checkpoint where pipeline = $1 and epoch = $2`,
    [pipeline, epoch],
  )
  return rows[0] === undefined ? null : asLsn(BigInt(rows[0].at))
}

/** Reverse only: the authority row of this very database must allow it, for as long as the transaction lasts. */
export async function authorityAllows(
  client: pg.Client,
  service: string,
  from: Checkpoint,
): Promise<'yes' | 'wait' | 'no'> {
  const { rows } = await client.query<{ state: string; epoch: string; closed: boolean }>(
    `select state, epoch, migrate.fence_value(service) > migrate.now_us() as closed
     from migrate.authority where service = $1 for share`,
    [service],
  )
  const found = rows[0]
  const wanted = from.authorityEpoch ?? -1
  // another epoch with the authority on this side: a run is under way, rows must not be dropped
  if (found?.state === 'service') return Number(found.epoch) === wanted ? 'yes' : 'wait'
  // the switch that the start token announced may still come while its fence is on
  return Number(found?.epoch) === wanted - 1 && found?.closed === true ? 'wait' : 'no'
}

export async function discardFrom(client: pg.Client, pipeline: string, { epoch }: Checkpoint): Promise<void> {
  await client.query(
    `update migrate.checkpoint set state = 'discard' where pipeline = $1 and epoch = $2 and state = 'apply'`,
    [pipeline, epoch],
  )
}
