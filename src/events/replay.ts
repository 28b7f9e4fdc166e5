import type { TransactionClient } from '../model/service-database.ts'
import { MigrateError } from '../errors.ts'
import { comparePositions, type EventPosition, START } from './define.ts'
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
 * Sets a subscription back so that all events behind `to` come again; the table of a projection is emptied with it. In one
 * transaction, which the caller commits: a process that runs meanwhile sees that its checkpoint was moved, and starts over.
 * Throws REPLAY_POSITION when it is not at `to` yet, and for a projection that would keep the rows of what came before.
 */
export async function rewind(
  tx: TransactionClient,
  { name, table }: SubscriptionState,
  { to, who }: { readonly to: EventPosition; readonly who: string },
): Promise<void> {
  const { rows } = await tx.query(
    `select epoch, tx::text, seq::text from eventing.checkpoint where name = $1 for update`,
    [name],
  )
  const before = positionOf(rows[0] as StoredPosition)
  requireRewindable({ name, table, position: before }, to)
  await tx.query(
    `update eventing.checkpoint set epoch = $2, tx = $3::xid8, seq = $4, moved_at = clock_timestamp() where name = $1`,
    [name, to.epoch, String(to.tx), String(to.seq)],
  )
  if (table !== null) await tx.query(`truncate ${table}`)
  await tx.query(
    `insert into eventing.audit (who, action, target, before, after)
     values ($1, 'events replay', $2, to_jsonb($3::text), to_jsonb($4::text))`,
    [who, name, positionText(before), positionText(to)],
  )
}

/** Throws REPLAY_POSITION. */
export function requireRewindable(
  { name, table, position }: Pick<SubscriptionState, 'name' | 'table' | 'position'>,
  to: EventPosition,
): void {
  const wholly = comparePositions(to, START) === 0
  if (wholly || (table === null && comparePositions(to, position) <= 0)) return
  throw new MigrateError('REPLAY_POSITION', { name, to: positionText(to), at: positionText(position) })
}

function positionText({ epoch, tx, seq }: EventPosition): string {
  return `${epoch}/${tx}/${seq}`
}
