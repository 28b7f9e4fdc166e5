import type { TransactionClient } from '../model/service-database.ts'
import { type EventPosition, START } from './define.ts'
import { positionOf, type StoredPosition } from './checkpoint.ts'

/** A subscription or projection as it stands. */
export interface SubscriptionState {
  readonly name: string
  /** of a projection: its table, which is emptied when everything is replayed */
  readonly table: string | null
  readonly position: EventPosition
  /** handled so far, repeated ones included */
  readonly events: number
  /** stored behind its position */
  readonly behind: number
}

export async function readSubscriptions(client: TransactionClient): Promise<SubscriptionState[]> {
  const { rows } = await client.query(
    `select c.name, c.projection_table, c.epoch, c.tx::text, c.seq::text, c.events::float8 as events,
       (select count(*) from eventing.event_store e where (e.epoch, e.tx, e.seq) > (c.epoch, c.tx, c.seq))::float8 as behind
     from eventing.checkpoint c order by c.name`,
  )
  return (
    rows as (StoredPosition & { name: string; projection_table: string | null; events: number; behind: number })[]
  ).map((row) => ({
    name: row.name,
    table: row.projection_table,
    position: positionOf(row),
    events: row.events,
    behind: row.behind,
  }))
}

/**
 * Sets a subscription back so that all events come again; the table of a projection is emptied with it. In one
 * transaction, which the caller commits: a process that runs meanwhile sees that its checkpoint was moved, and starts over.
 */
export async function rewind(tx: TransactionClient, { name, table }: SubscriptionState, who: string): Promise<void> {
  const { rows } = await tx.query(
    `with before as (select * from eventing.checkpoint where name = $1 for update)
     update eventing.checkpoint c set epoch = $2, tx = $3::xid8, seq = $4, moved_at = clock_timestamp()
     from before where c.name = before.name
     returning format('%s/%s/%s', before.epoch, before.tx, before.seq) as before`,
    [name, START.epoch, String(START.tx), String(START.seq)],
  )
  if (table !== null) await tx.query(`truncate ${table}`)
  await tx.query(
    `insert into eventing.audit (who, action, target, before, after)
     values ($1, 'events replay', $2, to_jsonb($3::text), to_jsonb('start'::text))`,
    [who, name, (rows[0] as { before: string }).before],
  )
}
