import { randomUUID } from 'node:crypto'
import { MigrateError } from '../errors.ts'
import { appendAll, type Appended, type ExpectedVersion } from '../events/append.ts'
import { type EventPosition, START } from '../events/define.ts'
import { lastSettled, readAfter, readRows } from '../events/read.ts'
import { readSubscriptions, requireRewindable, rewind, type SubscriptionState } from '../events/replay.ts'
import type { EventRow } from '../events/upcast.ts'
import { type Verification, verifyEvents } from '../events/verify.ts'
import type { Database } from '../model/sql.ts'
import { pause } from '../model/pause.ts'
import { retry } from '../retry.ts'
import { eventingOf } from './eventing.ts'
import type { App } from './open.ts'

/** An event as `migrate events` shows it: as it is stored. */
export interface ShownEvent {
  readonly stream: string
  readonly version: number
  readonly id: string
  readonly type: string
  readonly schemaVersion: number
  readonly data: unknown
  readonly metadata: Record<string, unknown>
  /** ISO 8601 */
  readonly createdAt: string
  /** EPOCH/TX/SEQ */
  readonly position: string
}

/** Events of a stream from a version on; without a stream of all, in the order of subscribers. Throws STREAM_UNKNOWN. */
export async function readEvents(
  app: App,
  service: string,
  { stream, from, limit }: { readonly stream: string | null; readonly from: number; readonly limit: number },
): Promise<ShownEvent[]> {
  const database = await eventing(app, service)
  if (stream === null) return (await readAfter(database, START, limit)).map(shown)
  const rows = await readRows(database, stream, { from, limit })
  if (rows.length === 0 && (await readRows(database, stream, { limit: 1 })).length === 0) {
    throw new MigrateError('STREAM_UNKNOWN', { stream, service })
  }
  return rows.map(shown)
}

/** Hands on events that are committed from now on (`fromStart`: all), until the signal aborts. */
export async function tailEvents(
  app: App,
  service: string,
  { fromStart, onEvent, signal }: { fromStart: boolean; onEvent: (event: ShownEvent) => void; signal: AbortSignal },
): Promise<void> {
  const database = await eventing(app, service)
  let at = fromStart ? START : await lastSettled(database)
  while (!signal.aborted) {
    const rows = await retry(() => readAfter(database, at, 500), { signal })
    for (const row of rows) onEvent(shown(row))
    const last = rows.at(-1)
    if (last !== undefined) at = { epoch: last.epoch, tx: BigInt(last.tx), seq: BigInt(last.seq) }
    if (rows.length < 500) await pause(250, signal).catch(() => undefined)
  }
}

export interface AppendedByHand {
  readonly type: string
  readonly data: unknown
  readonly id?: string | undefined
  readonly metadata?: Record<string, unknown> | undefined
  readonly schemaVersion?: number | undefined
}

/** Appends by hand, with a row of audit; `who` is in the metadata of each event too. */
export async function appendByHand(
  app: App,
  service: string,
  {
    stream,
    expected,
    events,
    who,
  }: { stream: string; expected: ExpectedVersion; events: readonly AppendedByHand[]; who: string },
): Promise<Appended> {
  const database = await eventing(app, service)
  const append = {
    ...{ stream, expected },
    events: events.map(({ type, data, id, metadata, schemaVersion }) => ({
      ...{ id: id ?? randomUUID(), type, schemaVersion: schemaVersion ?? 1, data: JSON.stringify(data) },
      metadata: JSON.stringify({ ...metadata, appendedBy: who }),
    })),
  }
  return database.transaction(async (tx) => {
    const [result] = await appendAll(tx, [append], false)
    if (result instanceof MigrateError) throw result
    const done = result as Appended
    if (!done.repeated) {
      const types = events.map(({ type }) => type)
      await tx.query(`insert into eventing.audit (who, action, target, after) values ($1, 'events append', $2, $3)`, [
        ...[who, stream],
        JSON.stringify({ version: done.version, types }),
      ])
    }
    return done
  })
}

/** What `events replay` would set back. Throws SUBSCRIPTION_UNKNOWN. */
export async function subscriptionOf(app: App, service: string, name: string): Promise<SubscriptionState> {
  const all = await readSubscriptions(await eventing(app, service))
  const found = all.find((each) => each.name === name)
  if (found !== undefined) return found
  const known = all.map((each) => each.name).join(', ') || 'none'
  throw new MigrateError('SUBSCRIPTION_UNKNOWN', { name, service, known })
}

/** Events behind `to` come again; a dry run only says whether that is possible. Throws REPLAY_POSITION. */
export async function replayEvents(
  app: App,
  service: string,
  state: SubscriptionState,
  { dryRun, ...how }: { readonly to: EventPosition; readonly who: string; readonly dryRun: boolean },
): Promise<void> {
  if (dryRun) return requireRewindable(state, how.to)
  await app.service(service).transaction((tx) => rewind(tx, state, how))
}

export async function verifyService(
  app: App,
  service: string,
  { stream, signal }: { readonly stream?: string; readonly signal: AbortSignal },
): Promise<Verification> {
  const database = await eventing(app, service)
  const found = await verifyEvents(database, { ...(stream !== undefined && { stream }), signal })
  if (stream !== undefined && found.streams === 0) throw new MigrateError('STREAM_UNKNOWN', { stream, service })
  return found
}

/** Throws EVENTING_MISSING. */
const eventing = (app: App, service: string): Promise<Database> => eventingOf(app, service, 'event_store')

function shown(row: EventRow): ShownEvent {
  return {
    stream: row.aggregate_id,
    version: Number(row.version),
    id: row.event_id,
    type: row.event_type,
    schemaVersion: row.schema_version,
    data: row.event_data,
    metadata: row.metadata,
    createdAt: new Date(row.created_at).toISOString(),
    position: `${row.epoch}/${row.tx}/${row.seq}`,
  }
}
