import type { AnyOptions } from '../../consumer/attempts.ts'
import { runConsumer } from '../../consumer/consume.ts'
import type { ConsumerOptions } from '../../consumer/options.ts'
import type { EventDefinitions } from '../../events/define.ts'
import type { ConnectionPool } from '../../model/service-database.ts'
import { type RelayOptions, runRelay } from '../../outbox/relay.ts'
import type { KafkaOptions } from './client.ts'
import { openGroup } from './group.ts'
import { openPublisher } from './publisher.ts'

/** Where a consumer reads and writes. */
export interface Consume {
  /** needs a connection for each partition handled at a time, and two more */
  readonly pool: ConnectionPool
  readonly kafka: KafkaOptions
}

/**
 * Hands the messages of topics to handlers: what they write, the message's id and the offset are one transaction, so
 * exactly once. A message that fails waits with its key in the database while other keys go on, or becomes a dead letter
 * (`migrate dlq`). Several processes may run the same consumer and share the partitions. Resolves when the signal aborts
 * and what was begun is done; outages are waited out.
 */
export function consume<Definitions extends EventDefinitions>(
  options: Consume & ConsumerOptions<Definitions>,
): Promise<void> {
  const { pool, kafka, name, topics, from = 'beginning', concurrency = 4, stallTimeout = 30_000 } = options
  const broker = {
    group: openGroup({ ...kafka, group: name, topics, from, concurrency, sessionTimeout: stallTimeout }),
    openPublisher: () => openPublisher({ ...kafka, id: null }),
  }
  return runConsumer(pool, broker, options as AnyOptions)
}

/** Which outbox goes where. */
export interface Relay {
  /** needs three connections */
  readonly pool: ConnectionPool
  readonly kafka: KafkaOptions
  /** of this outbox; no other database of this Kafka may use the same */
  readonly name: string
}

/**
 * Publishes what is in the outbox of this database, in the order in which it was enqueued, and removes it. Several
 * processes may run it: one of them works, the others stand by. Whoever is killed leaves messages that are published once
 * more at worst, never one less or in another order. Resolves when the signal aborts.
 */
export function relayOutbox({ pool, kafka, name, ...options }: Relay & RelayOptions): Promise<void> {
  return runRelay(pool, () => openPublisher({ ...kafka, id: `outbox-${name}` }), options)
}
