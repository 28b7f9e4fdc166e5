import type { TransactionClient } from '../model/service-database.ts'

/**
 * Puts those of the letters that are open at the head of their keys' queues, where the running consumer finds them, with
 * a row of audit each. Returns their ids. Waits for a drain of these keys that is under way.
 */
export async function retryLetters(tx: TransactionClient, ids: readonly string[], who: string): Promise<string[]> {
  await lock(tx, ids)
  const { rows } = await tx.query(
    `with chosen as (
       update eventing.dead_letter set state = 'retrying', settled_by = $2, settled_at = null
       where id = any($1::bigint[]) and state = 'open' returning *),
     keys as (
       insert into eventing.parked_key as k (consumer, topic, order_key, state, due_at, error)
       select distinct on (consumer, topic, order_key) consumer, topic, order_key, 'retrying', clock_timestamp(), error
       from chosen order by consumer, topic, order_key, id
       on conflict (consumer, topic, order_key) do update
         set state = 'retrying', attempts = 0, due_at = clock_timestamp()),
     queued as (
       insert into eventing.parked_record
         (consumer, topic, order_key, partition, record_offset, record_time, key, value, headers, letter)
       select consumer, topic, order_key, partition, record_offset, record_time, key, value, headers, id from chosen
       -- the offset of the consumer was set back by hand, so the record has come once more
       on conflict (consumer, topic, order_key, partition, record_offset) do update set letter = excluded.letter),
     noted as (${audit('dlq retry', `'open'`, 'retrying', 'chosen')})
     select id::text as id from chosen order by chosen.id`,
    [ids, who],
  )
  return rows.map(({ id }) => id as string)
}

/**
 * Closes those of the letters that are not settled, with a row of audit each; a key that was blocked by them goes on.
 * Returns their ids. Waits for a drain of these keys that is under way.
 */
export async function discardLetters(tx: TransactionClient, ids: readonly string[], who: string): Promise<string[]> {
  await lock(tx, ids)
  const { rows } = await tx.query(
    `with before as (
       select id, state from eventing.dead_letter where id = any($1::bigint[]) and state in ('open', 'retrying')),
     closed as (
       update eventing.dead_letter as l set state = 'discarded', settled_by = $2, settled_at = clock_timestamp()
       from before where l.id = before.id returning l.*, before.state as was),
     removed as (delete from eventing.parked_record using closed where letter = closed.id),
     noted as (${audit('dlq discard', 'was', 'discarded', 'closed')})
     select id::text as id, was from closed order by closed.id`,
    [ids, who],
  )
  const closed = rows as { id: string; was: string }[]
  const waiting = closed.filter(({ was }) => was === 'retrying')
  await letKeysGoOn(
    tx,
    closed.map(({ id }) => id),
    waiting.map(({ id }) => id),
  )
  return closed.map(({ id }) => id)
}

/**
 * Keys first and in order, as consumers and drains do; then the letters. What others have just done with them is seen by
 * the statements after this.
 */
async function lock(tx: TransactionClient, ids: readonly string[]): Promise<void> {
  await tx.query(
    `select 1 from eventing.parked_key where (consumer, topic, order_key) in (
       select consumer, topic, order_key from eventing.dead_letter where id = any($1::bigint[]))
     order by consumer, topic, order_key for no key update`,
    [ids],
  )
  await tx.query(`select 1 from eventing.dead_letter where id = any($1::bigint[]) order by id for update`, [ids])
}

/** Blocked keys without another open letter, and keys whose first record is not there any more. */
async function letKeysGoOn(tx: TransactionClient, closed: readonly string[], waiting: readonly string[]) {
  await tx.query(
    `update eventing.parked_key as k set state = 'retrying', attempts = 0, due_at = clock_timestamp()
     from eventing.dead_letter as l
     where l.id = any($1::bigint[]) and (k.consumer, k.topic, k.order_key) = (l.consumer, l.topic, l.order_key)
       and (l.id = any($2::bigint[]) and k.state = 'retrying' or k.state = 'blocked' and not exists (
         select 1 from eventing.dead_letter as o where o.state = 'open'
           and (o.consumer, o.topic, o.order_key) = (k.consumer, k.topic, k.order_key)))`,
    [closed, waiting],
  )
}

function audit(action: string, before: string, after: string, rows: string): string {
  return `insert into eventing.audit (who, action, target, before, after)
    select $2, '${action}', 'dead letter ' || id, jsonb_build_object('state', ${before}::text, 'consumer', consumer,
      'topic', topic, 'partition', partition, 'offset', record_offset, 'error', error),
      jsonb_build_object('state', '${after}') from ${rows} order by id`
}
