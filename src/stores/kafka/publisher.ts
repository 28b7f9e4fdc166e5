import { KafkaJSError, type Producer } from 'kafkajs'
import { MigrateError } from '../../errors.ts'
import type { OutboundMessage, Publisher } from '../../outbox/ports.ts'
import { type KafkaOptions, openKafka } from './client.ts'

/**
 * A transactional producer. Kafka lets one producer with this `id` write: the next one that opens ends the transaction of
 * the one before, whose late messages are refused. Readers have to read committed messages only, which is the default of
 * kafkajs and librdkafka, and `isolation.level=read_committed` in Java. Throws BROKER_UNAVAILABLE.
 */
export async function openPublisher(options: KafkaOptions & { readonly id: string }): Promise<Publisher> {
  const producer = openKafka(options).producer({
    transactionalId: options.id,
    idempotent: true,
    // with several under way a retry could overtake
    maxInFlightRequests: 1,
    transactionTimeout: 30_000,
  })
  await producer.connect().catch(unavailable)
  return {
    publish: (messages) => publish(producer, messages).catch(unavailable),
    async [Symbol.asyncDispose]() {
      await producer.disconnect()
    },
  }
}

async function publish(producer: Producer, messages: readonly OutboundMessage[]): Promise<void> {
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

function byTopic(messages: readonly OutboundMessage[]) {
  const topics = new Map<
    string,
    { key: string | Buffer | null; value: string | Buffer | null; headers: Record<string, string | Buffer> }[]
  >()
  for (const { topic, key, value, headers } of messages) {
    const message = { key, value, headers: { ...headers } }
    const known = topics.get(topic)
    if (known === undefined) topics.set(topic, [message])
    else known.push(message)
  }
  return [...topics].map(([topic, list]) => ({ topic, messages: list }))
}

export function unavailable(error: unknown): never {
  if (error instanceof MigrateError) throw error
  const reason = error instanceof Error ? error.message : String(error)
  const type = error instanceof KafkaJSError && 'type' in error ? String(error.type) : ''
  if (/^(INVALID_PRODUCER_EPOCH|PRODUCER_FENCED|INVALID_PRODUCER_ID_MAPPING)$/.test(type)) {
    throw new MigrateError('PUBLISHER_REPLACED', { reason }, { cause: error })
  }
  throw new MigrateError('BROKER_UNAVAILABLE', { reason }, { cause: error })
}
