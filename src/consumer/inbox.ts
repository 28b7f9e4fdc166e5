import type { TransactionClient } from '../model/service-database.ts'
import type { Item } from './decode.ts'

/**
 * Notes the ids of these messages. Returns the items that are new: of one id the first, and all without an id, which are
 * known by their offset.
 */
export async function takeIn(tx: TransactionClient, consumer: string, items: readonly Item[]): Promise<Item[]> {
  const ids = items.flatMap(({ id }) => (id === null ? [] : [id]))
  if (ids.length === 0) return [...items]
  const { rows } = await tx.query(
    `insert into eventing.inbox (consumer, message_id) select $1, id from unnest($2::text[]) as m (id)
     on conflict do nothing returning message_id as id`,
    [consumer, ids],
  )
  const taken = new Set((rows as { id: string }[]).map(({ id }) => id))
  // delete: the second of one id is a repetition
  return items.filter(({ id }) => id === null || taken.delete(id))
}

/** For messages that are not handled yet after all. */
export async function takeOut(tx: TransactionClient, consumer: string, items: readonly Item[]): Promise<void> {
  const ids = items.flatMap(({ id }) => (id === null ? [] : [id]))
  if (ids.length === 0) return
  await tx.query(`delete from eventing.inbox where consumer = $1 and message_id = any($2::text[])`, [consumer, ids])
}

/** Forgets what is older, a part at a time. How many rows it were. */
export async function forgetIds(client: TransactionClient, consumer: string, days: number): Promise<number> {
  const { rowCount } = await client.query(
    `delete from eventing.inbox where ctid = any(array(
       select ctid from eventing.inbox
       where consumer = $1 and received_at < clock_timestamp() - make_interval(days => $2) limit 10000))`,
    [consumer, days],
  )
  return rowCount ?? 0
}
