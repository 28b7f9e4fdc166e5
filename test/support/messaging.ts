import { Kafka, logLevel, type KafkaMessage } from 'kafkajs'
import { type KafkaServer, startKafka } from '../../fixtures/servers/kafka.ts'
import { requireServer } from '../../fixtures/servers/require-server.ts'
import { type Eventing, startEventing } from './eventing.ts'

/** A service's database and a Kafka. */
export interface Messaging extends AsyncDisposable {
  readonly db: Eventing
  readonly broker: KafkaServer
  readonly kafka: { readonly brokers: readonly string[]; readonly clientId: string }
  /** plain kafkajs, for what a test sees from outside */
  readonly client: Kafka
  createTopic(topic: string, partitions: number): Promise<void>
  /** Everything that is committed in the topic now, partition by partition. */
  readTopic(topic: string): Promise<KafkaMessage[]>
  send(topic: string, messages: readonly Sent[]): Promise<void>
}

export interface Sent {
  readonly key: string | null
  readonly value: string | Buffer
  readonly headers?: Record<string, string>
  readonly partition?: number
}

/** Null: there is no Kafka on this machine, which says so; with CI=true it throws. */
export async function startMessaging(name: string): Promise<Messaging | null> {
  const broker = await requireServer(() => startKafka({ name }))
  if (broker === null) return null
  const db = await startEventing({ name })
  const client = new Kafka({ brokers: [...broker.brokers], clientId: 'test', logLevel: logLevel.NOTHING })
  return {
    ...{ db, broker, client, kafka: { brokers: broker.brokers, clientId: 'service' } },
    createTopic: (topic, partitions) =>
      withAdmin(client, async (admin) => {
        await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] })
      }),
    readTopic: (topic) => readTopic(client, topic),
    async send(topic, messages) {
      const producer = client.producer({ idempotent: true, maxInFlightRequests: 1 })
      await producer.connect()
      for (let at = 0; at < messages.length; at += 2_000) {
        await producer.send({ topic, messages: messages.slice(at, at + 2_000) })
      }
      await producer.disconnect()
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([db[Symbol.asyncDispose](), broker[Symbol.asyncDispose]()])
    },
  }
}

export async function withAdmin<T>(client: Kafka, work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
  const admin = client.admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

let readers = 0

async function readTopic(client: Kafka, topic: string): Promise<KafkaMessage[]> {
  const offsets = await withAdmin(client, (admin) => admin.fetchTopicOffsets(topic))
  const missing = new Map(offsets.filter(({ low, high }) => low !== high).map((each) => [each.partition, each.high]))
  const found: { partition: number; message: KafkaMessage }[] = []
  if (missing.size === 0) return []
  readers += 1
  const consumer = client.consumer({ groupId: `reader-${process.pid}-${readers}`, maxWaitTimeInMs: 100 })
  const done = Promise.withResolvers<void>()
  // also batches that hold only markers of transactions
  consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
    if (BigInt(lastOffset) + 1n >= BigInt(missing.get(partition) ?? 0)) missing.delete(partition)
    if (missing.size === 0) done.resolve()
  })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition, message }) => void found.push({ partition, message }) })
  await done.promise
  await consumer.disconnect()
  return found.sort((a, b) => a.partition - b.partition).map(({ message }) => message)
}

/** Asks until the condition holds. */
export async function until(what: string, holds: () => Promise<boolean>, milliseconds = 30_000): Promise<void> {
  const deadline = Date.now() + milliseconds
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
