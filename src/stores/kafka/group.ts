import type { Batch, Consumer, EachBatchPayload, IHeaders, Kafka } from 'kafkajs'
import type { ConsumedRecord, Fetched, Group, Onward, Reader } from '../../consumer/ports.ts'
import { MigrateError } from '../../errors.ts'
import { type KafkaOptions, openKafka } from './client.ts'
import { unavailable } from './publisher.ts'

export interface GroupOptions extends KafkaOptions {
  readonly group: string
  readonly topics: readonly string[]
  /** where a partition begins that neither we nor the broker know an offset of */
  readonly from: 'beginning' | 'end'
  /** partitions that are handled at a time */
  readonly concurrency: number
  /** milliseconds after which Kafka gives the partitions of a silent member to others */
  readonly sessionTimeout: number
}

/** Brokers refuse less, by default. */
const LEAST_SESSION = 6_000
const HEARTBEAT = 2_000

/**
 * A member of a group. Each `run` is a new client of kafkajs: one that has crashed keeps offsets of its past. It commits
 * to the broker what was handled for the sake of tools that show lag; where to go on the reader says.
 */
export function openGroup(options: GroupOptions): Group {
  const kafka = openKafka(options)
  return {
    run: (reader, signal) => runMember(kafka, options, { reader, signal }).catch(unavailable),
    firstOffset: (topic, partition) => firstOffset(kafka, topic, partition).catch(unavailable),
  }
}

async function runMember(
  kafka: Kafka,
  { group, topics, from, concurrency, sessionTimeout }: GroupOptions,
  { reader, signal }: { readonly reader: Reader; readonly signal: AbortSignal },
): Promise<void> {
  if (signal.aborted) return
  const consumer = kafka.consumer({
    ...{
      groupId: group,
      sessionTimeout: Math.max(LEAST_SESSION, sessionTimeout),
      heartbeatInterval: HEARTBEAT,
      // all others wait for a member that does not come back; our epoch keeps out what it still does
      rebalanceTimeout: Math.max(LEAST_SESSION, sessionTimeout),
    },
    ...{ maxWaitTimeInMs: 250, maxBytesPerPartition: 1_048_576, readUncommitted: false },
    // what a crash was is for our caller, who opens another one
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8, restartOnFailure: async () => false },
  })
  const over = Promise.withResolvers<void>()
  const stop = (): void => over.resolve()
  const member = new Member(consumer, reader, signal)
  consumer.on(consumer.events.CRASH, ({ payload }) => over.reject(payload.error))
  signal.addEventListener('abort', stop, { once: true })
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [...topics], fromBeginning: from === 'beginning' })
    await consumer.run({
      ...{ autoCommit: false, eachBatchAutoResolve: false, partitionsConsumedConcurrently: concurrency },
      eachBatch: (payload) => member.take(payload),
    })
    await over.promise
  } finally {
    signal.removeEventListener('abort', stop)
    member.close()
    // waits for what is being handled
    await consumer.disconnect().catch(() => undefined)
  }
}

class Member {
  readonly #consumer: Consumer
  readonly #reader: Reader
  readonly #signal: AbortSignal
  readonly #resumes = new Set<NodeJS.Timeout>()
  /** where each partition was read up to */
  readonly #ends = new Map<string, bigint>()
  #generation = 0

  constructor(consumer: Consumer, reader: Reader, signal: AbortSignal) {
    this.#consumer = consumer
    this.#reader = reader
    this.#signal = signal
    consumer.on(consumer.events.GROUP_JOIN, () => {
      this.#generation += 1
      this.#ends.clear()
    })
    // what holds nothing but markers of transactions never comes to `take`
    consumer.on(consumer.events.START_BATCH_PROCESS, ({ payload }) => {
      const { topic, partition, batchSize, firstOffset, lastOffset } = payload
      const place = `${topic}/${partition}`
      if (batchSize > 0 || this.#ends.get(place) !== BigInt(firstOffset ?? -1)) return
      this.#ends.set(place, BigInt(lastOffset) + 1n)
    })
  }

  async take(payload: EachBatchPayload): Promise<void> {
    const { batch, resolveOffset } = payload
    const { topic, partition } = batch
    const fetched = this.#fetched(batch)
    const beat = heartbeats(payload)
    let onward: Onward
    try {
      onward = await this.#reader(fetched, () => this.#signal.aborted || !payload.isRunning() || beat.lost() !== null)
    } finally {
      beat.stop()
    }
    const { next, pause } = onward
    if (next === fetched.to) resolveOffset(batch.messages.at(-1)?.offset ?? batch.lastOffset())
    else this.#consumer.seek({ topic, partition, offset: String(next) })
    this.#ends.set(`${topic}/${partition}`, next)
    if (pause !== undefined) this.#pause(payload, pause)
    const lost = beat.lost()
    if (lost !== null) throw lost
    // for tools that show lag; a failure shows with the next heartbeat
    const offsets = { topics: [{ topic, partitions: [{ partition, offset: String(next) }] }] }
    await payload.commitOffsetsIfNecessary(offsets).catch(() => undefined)
  }

  close(): void {
    for (const timer of this.#resumes) clearTimeout(timer)
  }

  #fetched(batch: Batch): Fetched {
    const { topic, partition } = batch
    // kafkajs knows what it asked for, its types do not
    const from = BigInt((batch as Batch & { readonly fetchedOffset: string }).fetchedOffset)
    return {
      ...{ topic, partition, from, generation: this.#generation },
      contiguous: this.#ends.get(`${topic}/${partition}`) === from,
      to: BigInt(batch.lastOffset()) + 1n,
      end: BigInt(batch.highWatermark),
      records: batch.messages.map(({ offset, timestamp, key, value, headers }) => ({
        ...{ topic, partition, offset: BigInt(offset), time: Number(timestamp), key, value },
        headers: headersOf(headers),
      })),
    }
  }

  #pause({ pause }: EachBatchPayload, milliseconds: number): void {
    const resume = pause()
    const timer = setTimeout(() => {
      this.#resumes.delete(timer)
      resume()
    }, milliseconds)
    this.#resumes.add(timer)
  }
}

/** Heartbeats go on while something is handled. The error of one says that this member has to join again. */
function heartbeats({ heartbeat }: EachBatchPayload) {
  let lost: Error | null = null
  const timer = setInterval(() => {
    heartbeat().catch((error: Error) => {
      lost = error
    })
  }, HEARTBEAT / 3)
  return { lost: () => lost, stop: () => clearInterval(timer) }
}

function headersOf(headers: IHeaders | undefined): ConsumedRecord['headers'] {
  const all = Object.entries(headers ?? {}).map(([name, value]) => {
    const values = value === undefined ? [] : Array.isArray(value) ? value : [value]
    return [name, values.map((each) => Buffer.from(each))] as const
  })
  return Object.fromEntries(all)
}

async function firstOffset(kafka: Kafka, topic: string, partition: number): Promise<bigint> {
  const admin = kafka.admin()
  try {
    await admin.connect()
    const found = (await admin.fetchTopicOffsets(topic)).find((each) => each.partition === partition)
    if (found === undefined) throw new MigrateError('BROKER_UNAVAILABLE', { reason: `${topic} has no ${partition}` })
    return BigInt(found.low)
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}
