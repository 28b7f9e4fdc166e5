import type { TransactionClient } from '../model/service-database.ts'
import { positionOf, type StoredPosition } from './checkpoint.ts'
import { type AnyEvent, type EventDefinitions, type EventPosition, START, type StoredEvent } from './define.ts'
import { EVENT_COLUMNS, type EventRow, storedEvent } from './upcast.ts'

export interface ReadOptions {
  /** version of the first event; default 1 */
  readonly from?: number
  /** default 1,000 */
  readonly limit?: number
}

export async function readStream<Event extends AnyEvent>(
  client: TransactionClient,
  definitions: EventDefinitions,
  stream: string,
  { from = 1, limit = 1_000 }: ReadOptions = {},
): Promise<StoredEvent<Event>[]> {
  const rows = await readRows(client, stream, { from, limit })
  return rows.map((row) => storedEvent<Event>(row, definitions))
}

/** As they are stored. */
export async function readRows(
  client: TransactionClient,
  stream: string,
  { from = 1, limit = 1_000 }: ReadOptions,
): Promise<EventRow[]> {
  const { rows } = await client.query(
    `select ${EVENT_COLUMNS} from eventing.event_store where aggregate_id = $1 and version >= $2 order by event_store.version limit $3`,
    [stream, from, limit],
  )
  return rows as EventRow[]
}

/**
 * Events behind a position, in the order of subscribers. An event whose transaction is not older than every open one of
 * the cluster is not among them yet: one that commits later could come before it.
 */
export async function readAfter(client: TransactionClient, after: EventPosition, limit: number): Promise<EventRow[]> {
  await currentEpoch(client)
  const { rows } = await client.query(
    `select ${EVENT_COLUMNS} from eventing.event_store
     where (epoch, tx, seq) > ($1, $2::xid8, $3) and ${SETTLED}
     order by event_store.epoch, event_store.tx, event_store.seq limit $4`,
    [after.epoch, String(after.tx), String(after.seq), limit],
  )
  return rows as EventRow[]
}

/** Position of the last event that subscribers may see at this moment; whatever they have not seen then comes behind it. */
export async function lastSettled(client: TransactionClient): Promise<EventPosition> {
  await currentEpoch(client)
  const { rows } = await client.query(
    `select epoch, tx::text, seq::text from eventing.event_store where ${SETTLED}
     order by event_store.epoch desc, event_store.tx desc, event_store.seq desc limit 1`,
  )
  const last = rows[0] as StoredPosition | undefined
  return last === undefined ? START : positionOf(last)
}

/** In the statement's own snapshot: an epoch that begins meanwhile is not seen, nor what is appended in it. */
const SETTLED = `(epoch, tx) < ((select epoch from eventing.store), pg_snapshot_xmin(pg_current_snapshot()))`

/** The store's epoch; it begins a new one when it finds itself in another cluster. */
export async function currentEpoch(client: TransactionClient): Promise<number> {
  const { rows } = await client.query(`select eventing.current_epoch() as epoch`)
  return (rows[0] as { epoch: number }).epoch
}
