import type { TransactionClient } from '../model/service-database.ts'
import type { Item } from './decode.ts'
import type { ConsumedRecord } from './ports.ts'

/** Order of keys in a map. */
export const keyText = ({ orderKey }: Pick<Item, 'orderKey'>): string => orderKey.toString('base64')

/**
 * Which of these keys are parked, as `keyText`. They stay so until the caller's transaction ends: what it adds behind them
 * is found by whoever drains. A drain that is under way is not waited for, but for its last look.
 */
export async function parkedAmong(
  tx: TransactionClient,
  { consumer, topic }: Scope,
  items: readonly Item[],
): Promise<Set<string>> {
  const keys = [...new Map(items.map((item) => [keyText(item), item.orderKey])).values()]
  const { rows } = await tx.query(
    `select order_key as "orderKey" from eventing.parked_key
     where consumer = $1 and topic = $2 and order_key = any($3::bytea[]) order by order_key for key share`,
    [consumer, topic, keys],
  )
  return new Set((rows as { orderKey: Buffer }[]).map(keyText))
}

export interface Scope {
  readonly consumer: string
  readonly topic: string
}

/** A key that cannot go on, and why. */
export interface NewlyParked {
  readonly item: Item
  readonly state: 'retrying' | 'blocked'
  readonly error: string
  readonly attempts: number
  /** until the next try */
  readonly milliseconds: number
}

export async function parkKeys(
  tx: TransactionClient,
  { consumer, topic }: Scope,
  parked: readonly NewlyParked[],
): Promise<void> {
  if (parked.length === 0) return
  await tx.query(
    `insert into eventing.parked_key (consumer, topic, order_key, state, error, attempts, due_at)
     select $1, $2, p.order_key, p.state, p.error, p.attempts, clock_timestamp() + make_interval(secs => p.wait / 1000)
     from unnest($3::bytea[], $4::text[], $5::text[], $6::int[], $7::float8[])
       as p (order_key, state, error, attempts, wait)
     on conflict (consumer, topic, order_key) do nothing`,
    [
      ...[consumer, topic, parked.map(({ item }) => item.orderKey), parked.map(({ state }) => state)],
      ...[parked.map(({ error }) => error), parked.map(({ attempts }) => attempts)],
      parked.map(({ milliseconds }) => milliseconds),
    ],
  )
}

/** Puts records behind their keys, which are parked. */
export async function parkRecords(tx: TransactionClient, { consumer, topic }: Scope, items: readonly Item[]) {
  if (items.length === 0) return
  const of = <T>(column: (item: Item) => T): T[] => items.map(column)
  await tx.query(
    `insert into eventing.parked_record (consumer, topic, order_key, partition, record_offset, record_time, key, value, headers)
     select $1, $2, r.* from unnest($3::bytea[], $4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::jsonb[]) as r
     on conflict do nothing`,
    [
      ...[consumer, topic, of(({ orderKey }) => orderKey), of(({ record }) => record.partition)],
      ...[of(({ record }) => String(record.offset)), of(({ record }) => record.time)],
      ...[of(({ record }) => record.key), of(({ record }) => record.value)],
      of(({ record }) => headersJson(record.headers)),
    ],
  )
}

export async function countParkedKeys(client: TransactionClient, consumer: string): Promise<number> {
  const { rows } = await client.query(
    `select count(*)::int as count from eventing.parked_key where consumer = $1 and state = 'retrying'`,
    [consumer],
  )
  return (rows[0] as { count: number }).count
}

export function headersJson(headers: ConsumedRecord['headers']): string {
  const all = Object.entries(headers).map(
    ([name, values]) => [name, values.map((value) => value.toString('base64'))] as const,
  )
  return JSON.stringify(Object.fromEntries(all))
}

export function headersOfJson(stored: Record<string, string[]>): ConsumedRecord['headers'] {
  const all = Object.entries(stored).map(
    ([name, values]) => [name, values.map((value) => Buffer.from(value, 'base64'))] as const,
  )
  return Object.fromEntries(all)
}
