import type { TransactionClient } from '../model/service-database.ts'
import type { OutboundMessage } from '../outbox/ports.ts'
import type { Item } from './decode.ts'
import { headersJson } from './parking.ts'

/** A message that was given up, and why. */
export interface Failed {
  readonly item: Item
  readonly error: Error
  /** tries in all */
  readonly attempts: number
}

/** Longer ones are cut: brokers refuse large messages. */
const LONGEST = 8_000

/**
 * The message for the dead-letter topic: key, value and headers as they came, and the headers that Spring's
 * DeadLetterPublishingRecoverer writes, numbers as big-endian binary. Headers of an earlier letter are replaced.
 */
export function letterMessage(
  { item: { record }, error }: Failed,
  { topic, group }: { readonly topic: string; readonly group: string },
): OutboundMessage {
  const { fqcn, message, stack } = describe(error)
  const added = {
    'kafka_dlt-original-topic': record.topic,
    'kafka_dlt-original-partition': int32(record.partition),
    'kafka_dlt-original-offset': int64(record.offset),
    'kafka_dlt-original-timestamp': int64(BigInt(record.time)),
    'kafka_dlt-original-consumer-group': group,
    'kafka_dlt-exception-fqcn': fqcn,
    ...(error.cause instanceof Error && { 'kafka_dlt-exception-cause-fqcn': describe(error.cause).fqcn }),
    'kafka_dlt-exception-message': message,
    'kafka_dlt-exception-stacktrace': stack,
  }
  const { key, value } = record
  return { topic, key, value, headers: { ...record.headers, ...added } }
}

/** Keeps the letters for `migrate dlq`. */
export async function keepLetters(tx: TransactionClient, consumer: string, failed: readonly Failed[]): Promise<void> {
  const of = <T>(column: (one: Failed) => T): T[] => failed.map(column)
  const errors = failed.map(({ error }) => describe(error))
  await tx.query(
    `insert into eventing.dead_letter (consumer, topic, partition, record_offset, order_key, record_time, key, value,
       headers, message_id, type, error, message, stack, attempts)
     select $1, l.* from unnest($2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::bigint[], $7::bytea[], $8::bytea[],
       $9::jsonb[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::int[]) as l
     on conflict (consumer, topic, partition, record_offset) do nothing`,
    [
      ...[consumer, of(({ item }) => item.record.topic), of(({ item }) => item.record.partition)],
      ...[of(({ item }) => String(item.record.offset)), of(({ item }) => item.orderKey)],
      ...[of(({ item }) => item.record.time), of(({ item }) => item.record.key), of(({ item }) => item.record.value)],
      ...[of(({ item }) => headersJson(item.record.headers)), of(({ item }) => item.id), of(({ item }) => item.type)],
      ...[errors.map(({ fqcn }) => fqcn), errors.map(({ message }) => message), errors.map(({ stack }) => stack)],
      of(({ attempts }) => attempts),
    ],
  )
}

/** What an error is called: its code where it has one. PostgreSQL's text columns take no zero bytes. */
export function describe(error: Error): { fqcn: string; message: string; stack: string } {
  const { name, message, stack = '' } = error
  const code = 'code' in error && typeof error.code === 'string' ? `${name}.${error.code}` : name
  const [fqcn, cut, trace] = [code, message, stack].map((text) => text.replaceAll('\0', '').slice(0, LONGEST))
  return { fqcn: fqcn ?? '', message: cut ?? '', stack: trace ?? '' }
}

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(value)
  return buffer
}

function int64(value: bigint): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigInt64BE(value)
  return buffer
}
