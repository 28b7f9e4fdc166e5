import { MigrateError } from '../errors.ts'
import type { TransactionClient } from '../model/service-database.ts'

/** The right to write for a partition, until somebody else claims it. */
export interface Claim {
  readonly consumer: string
  readonly topic: string
  readonly partition: number
  readonly epoch: string
  /** null: nothing was handled yet */
  readonly next: bigint | null
}

/** Takes the partition over: whoever had it writes nothing any more. Waits until its transaction is over. */
export async function claimPartition(
  client: TransactionClient,
  consumer: string,
  { topic, partition }: { readonly topic: string; readonly partition: number },
): Promise<Claim> {
  const { rows } = await client.query(
    `insert into eventing.consumer_offset as o (consumer, topic, partition, epoch) values ($1, $2, $3, 1)
     on conflict (consumer, topic, partition) do update set epoch = o.epoch + 1
     returning epoch::text, next_offset::text as next`,
    [consumer, topic, partition],
  )
  const { epoch, next } = rows[0] as { epoch: string; next: string | null }
  return { consumer, topic, partition, epoch, next: next === null ? null : BigInt(next) }
}

/**
 * Moves the offset, if the partition is still ours and where we left it. PostgreSQL ends the transaction when nothing is
 * heard of it for so many milliseconds: a process that sleeps must not keep the partition locked. Throws PARTITION_LOST.
 */
export async function moveOffset(tx: TransactionClient, claim: Claim, to: bigint, stall: number): Promise<void> {
  const { consumer, topic, partition, epoch, next } = claim
  const { rowCount } = await tx.query(
    `update eventing.consumer_offset set next_offset = $6, moved_at = clock_timestamp()
     where consumer = $1 and topic = $2 and partition = $3 and epoch = $4 and next_offset is not distinct from $5
     returning set_config('idle_in_transaction_session_timeout', $7, true)`,
    [consumer, topic, partition, epoch, next === null ? null : String(next), String(to), String(stall)],
  )
  if (rowCount !== 1) throw new MigrateError('PARTITION_LOST', { consumer, topic, partition })
}
