import { NOTE } from '../../model/change.ts'
import type { Sql } from '../../model/sql.ts'
import { readCheckpoint } from './checkpoint.ts'

/**
 * Writes a mark into a database's log, as a transaction of its own that goes through the pipeline behind everything
 * committed before. Returns its position.
 */
export async function emitFence(source: Sql, service: string): Promise<bigint> {
  const { rows } = await source.query<{ at: string }>(
    `select (pg_logical_emit_message(true, '${NOTE.fence}', $1) - '0/0')::text as at`,
    [service],
  )
  return BigInt(rows[0]?.at ?? '0')
}

/**
 * Has the pipeline made everything durable that was committed before the fence, held changes included? By the position
 * of its checkpoint: the one that readers go by stays behind the keys whose newest change is always still held.
 */
export async function fencePassed(
  target: Sql,
  pipeline: string,
  fence: bigint,
): Promise<'passed' | 'waiting' | 'moved'> {
  const checkpoint = await readCheckpoint(target, pipeline)
  if (checkpoint?.state !== 'apply') return 'moved'
  return checkpoint.commitLsn >= fence ? 'passed' : 'waiting'
}
