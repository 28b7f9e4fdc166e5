import { MigrateError } from '../errors.ts'
import type { AnyEvent, EventDefinitions, StoredEvent } from './define.ts'

/** A row of `eventing.event_store` as the statements of this folder select it. */
export interface EventRow {
  readonly aggregate_id: string
  readonly version: string
  readonly event_id: string
  readonly event_type: string
  readonly schema_version: number
  readonly event_data: unknown
  readonly metadata: Record<string, unknown>
  readonly created_at: Date
  readonly epoch: number
  readonly tx: string
  readonly seq: string
}

export const EVENT_COLUMNS = `aggregate_id, version::text, event_id, event_type, schema_version, event_data, metadata,
  created_at, epoch, tx::text, seq::text`

/**
 * The stored row as an event, its payload brought to today's form one version after the other. Throws EVENT_UNKNOWN for a
 * type without a definition, EVENT_NEWER for a version that this program does not know, EVENT_NOT_UPCAST without a way.
 */
export function storedEvent<Event extends AnyEvent>(row: EventRow, definitions: EventDefinitions): StoredEvent<Event> {
  return {
    type: row.event_type,
    data: upcast(row, definitions),
    id: row.event_id,
    stream: row.aggregate_id,
    version: Number(row.version),
    metadata: row.metadata,
    createdAt: row.created_at,
    position: { epoch: row.epoch, tx: BigInt(row.tx), seq: BigInt(row.seq) },
  } as unknown as StoredEvent<Event>
}

function upcast(
  { event_type: type, schema_version: found, event_data, aggregate_id: stream }: EventRow,
  definitions: EventDefinitions,
): unknown {
  const definition = Object.hasOwn(definitions, type) ? definitions[type] : undefined
  if (definition === undefined) throw new MigrateError('EVENT_UNKNOWN', { type, stream })
  const { schemaVersion, upcasters } = definition
  if (found > schemaVersion) throw new MigrateError('EVENT_NEWER', { type, stream, found, known: schemaVersion })
  let data = event_data
  for (let version = found; version < schemaVersion; version++) {
    const next = upcasters[version]
    if (next === undefined) throw new MigrateError('EVENT_NOT_UPCAST', { type, stream, from: version, to: version + 1 })
    data = next(data as never)
  }
  return data
}
