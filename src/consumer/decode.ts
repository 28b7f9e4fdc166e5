import { MigrateError } from '../errors.ts'
import type { EventDefinitions } from '../events/define.ts'
import type { Message } from './options.ts'
import type { ConsumedRecord } from './ports.ts'

/** A record with what could be made of it. */
export interface Item {
  readonly record: ConsumedRecord
  readonly orderKey: Buffer
  /** header "id" */
  readonly id: string | null
  readonly type: string | null
  /** null: nobody handles its type */
  readonly message: Message | null
  /** it cannot be decoded */
  readonly error: Error | null
}

/**
 * Makes a message of a record: type from header `type` (or `eventType`, as Debezium's documentation names it), payload
 * from JSON. A record without such a header has the only type that is defined, if it is only one. Never throws.
 */
export async function decode(record: ConsumedRecord, events: EventDefinitions): Promise<Item> {
  const headers = textOf(record.headers)
  const id = headers.id ?? null
  const type = headers.type ?? headers.eventType ?? onlyType(events)
  const orderKey = record.key ?? Buffer.from(`\0${record.partition}/${record.offset}`)
  const item = { record, orderKey, id, type }
  if (type === null || !Object.hasOwn(events, type)) return { ...item, message: null, error: null }
  const { topic, partition, offset, time, key } = record
  try {
    const data = await payload(record, type, events)
    const place = { topic, partition, offset, time: new Date(time), key: key?.toString('utf8') ?? null }
    return { ...item, message: { type, data, id, headers, ...place }, error: null }
  } catch (error) {
    return { ...item, message: null, error: error as Error }
  }
}

async function payload({ value }: ConsumedRecord, type: string, events: EventDefinitions): Promise<unknown> {
  const schema = events[type]?.schema ?? null
  const data = parse(value, type)
  if (schema === null) return data
  const result = await schema['~standard'].validate(data)
  if (result.issues === undefined) return result.value
  // paths and messages of a schema may quote the values
  throw new MigrateError('MESSAGE_INVALID', { type, reason: `its schema found ${result.issues.length} defect(s)` })
}

function parse(value: Buffer | null, type: string): unknown {
  if (value === null) return null
  try {
    return JSON.parse(UTF8.decode(value))
  } catch {
    // the error of JSON.parse quotes the text
    throw new MigrateError('MESSAGE_INVALID', { type, reason: 'its value is not JSON' })
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

function onlyType(events: EventDefinitions): string | null {
  const types = Object.keys(events)
  return types.length === 1 ? (types[0] as string) : null
}

function textOf(headers: ConsumedRecord['headers']): Record<string, string> {
  const all = Object.entries(headers).map(([name, values]) => [name, values.at(-1)?.toString('utf8') ?? ''] as const)
  return Object.fromEntries(all)
}
