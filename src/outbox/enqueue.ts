import { randomUUID } from 'node:crypto'
import type { TransactionClient } from '../model/service-database.ts'

/** A message to be published once the transaction is committed. */
export interface OutboxMessage {
  /** of the topic `outbox.event.<aggregateType>` when `topic` does not name another */
  readonly aggregateType: string
  /** key of the message: messages with one id keep the order in which they were enqueued */
  readonly aggregateId: string
  readonly type: string
  /** is sent as JSON */
  readonly payload: unknown
  readonly topic?: string
  /** e.g. traceparent, correlation id */
  readonly headers?: Readonly<Record<string, string>>
  /** UUID, by which the receiver knows it again; default a random one */
  readonly id?: string
}

/**
 * Puts messages into the outbox inside the caller's transaction: they are published when it is committed, at least once,
 * and not at all when it is rolled back. One statement. The order of two transactions that write for one aggregate is
 * that of their locks on it: take the lock (change its row, append its events) before enqueueing. Returns the ids.
 */
export async function enqueue(tx: TransactionClient, messages: readonly OutboxMessage[]): Promise<string[]> {
  const ids = messages.map(({ id }) => id ?? randomUUID())
  if (messages.length === 0) return ids
  await tx.query(
    `insert into eventing.outbox (id, aggregatetype, aggregateid, type, payload, headers, topic)
     select m.id, m.aggregatetype, m.aggregateid, m.type, m.payload, m.headers, m.topic
     from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::jsonb[], $7::text[])
       with ordinality as m (id, aggregatetype, aggregateid, type, payload, headers, topic, n)
     order by m.n`,
    [
      ids,
      messages.map(({ aggregateType }) => aggregateType),
      messages.map(({ aggregateId }) => aggregateId),
      messages.map(({ type }) => type),
      messages.map(({ payload }) => JSON.stringify(payload ?? null)),
      messages.map(({ headers }) => JSON.stringify(headers ?? {})),
      messages.map(({ topic }) => topic ?? null),
    ],
  )
  return ids
}
