import type { IHeaders, Producer, TopicMessages } from 'kafkajs'
import { MigrateError } from '../../errors.ts'
import type { OutboundMessage, Publisher } from '../../outbox/ports.ts'
import { type KafkaOptions, openKafka } from './client.ts'

/**
 * A producer that waits for all replicas. With an `id` it is transactional, and Kafka lets one producer of that id write:
 * the next one that opens ends the transaction of the one before, whose late messages are refused. Readers then have to
 * read committed messages only, which is the default of kafkajs and librdkafka, and `isolation.level=read_committed` in
 * Java. Throws BROKER_UNAVAILABLE.
 */
export async function openPublisher(options: KafkaOptions & { readonly id: string | null }): Promise<Publisher> {
  const { id } = options
  const producer = openKafka(options).producer({
    ...(id !== null && { transactionalId: id, transactionTimeout: 30_000 }),
    idempotent: true,
    // with several under way a retry could overtake
    maxInFlightRequests: 1,
  })
  await producer.connect().catch(unavailable)
  const send = id === null ? sendAll : sendTogether
  return {
    publish: (messages) => send(producer, messages).catch(unavailable),
    async [Symbol.asyncDispose]() {
      await producer.disconnect()
    },
  }
}

async function sendAll(producer: Producer, messages: readonly OutboundMessage[]): Promise<void> {
  await producer.sendBatch({ topicMessages: byTopic(messages) })
}

async function sendTogether(producer: Producer, messages: readonly OutboundMessage[]): Promise<void> {
  const transaction = await producer.transaction()
  try {
    await transaction.sendBatch({ topicMessages: byTopic(messages) })
    await transaction.commit()
  } catch (error) {
    // the broker ends it at its timeout, or when the next producer opens; the first error tells more
    await transaction.abort().catch(() => undefined)
    throw error
  }
}

function byTopic(messages: readonly OutboundMessage[]): TopicMessages[] {
  const topics = Map.groupBy(messages, ({ topic }) => topic)
  return [...topics].map(([topic, list]) => ({
    topic,
    messages: list.map(({ key, value, headers }) => ({ key, value, headers: { ...headers } as IHeaders })),
  }))
}

export function unavailable(error: unknown): never {
  if (error instanceof MigrateError) throw error
  const reason = error instanceof Error ? error.message : String(error)
  const type = error instanceof Error && 'type' in error ? String(error.type) : ''
  if (/^(INVALID_PRODUCER_EPOCH|PRODUCER_FENCED|INVALID_PRODUCER_ID_MAPPING)$/.test(type)) {
    throw new MigrateError('PUBLISHER_REPLACED', { reason }, { cause: error })
  }
  throw new MigrateError('BROKER_UNAVAILABLE', { reason }, { cause: error })
}
