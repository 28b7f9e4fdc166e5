import { Bell } from '../bell.ts'
import { asMigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { ConnectionPool, PooledClient, TransactionClient } from '../model/service-database.ts'
import { isTransient } from '../model/transient.ts'
import { retry } from '../retry.ts'
import type { OutboundMessage, Publisher } from './ports.ts'

export interface RelayOptions {
  readonly signal: AbortSignal
  /** rows of one publication; default 1,000 */
  readonly batch?: number
  /** how often it looks when nobody rings, milliseconds; default 200 */
  readonly poll?: number
  /** broker or database do not answer; it goes on trying, and the outbox grows */
  readonly onTrouble?: (error: Error) => void
  readonly onPublished?: (messages: number) => void
  /** for tests of crashes: `outbox.read`, `outbox.published`, `outbox.deleted` */
  readonly failpoint?: (name: string) => Promise<void>
}

/** The channel on which the relay is told that there may be something to publish. */
export const OUTBOX_CHANNEL = 'eventing_outbox'
/** for all relays of one database */
const LOCK = 7305217

/**
 * Publishes the outbox of this database, one process at a time. Opens its publisher when it is its turn, which fences the
 * one of a process that was paused meanwhile. Resolves when the signal aborts.
 */
export async function runRelay(
  pool: ConnectionPool,
  openPublisher: () => Promise<Publisher>,
  options: RelayOptions,
): Promise<void> {
  const { signal } = options
  const passes = (error: Error): boolean => isTransient(error) || asMigrateError(error).retry === 'timed'
  const onRetry = (error: Error): void => options.onTrouble?.(error)
  try {
    await retry(() => stint(pool, openPublisher, options), { signal, first: 200, slowest: 5_000, passes, onRetry })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** From getting the lock until something fails. */
async function stint(
  pool: ConnectionPool,
  openPublisher: () => Promise<Publisher>,
  options: RelayOptions,
): Promise<void> {
  const { signal, poll = 200 } = options
  const bell = new Bell(pool, OUTBOX_CHANNEL)
  await using turn = await ourTurn(pool, signal)
  await using publisher = await openPublisher()
  try {
    while (!signal.aborted) {
      turn.throwIfOver()
      if ((await relayOnce(pool, publisher, options)) === 0) await bell.wait(poll, signal)
    }
  } finally {
    bell.close()
  }
}

/** Publishes and removes what there is, at most one batch. How many it were. */
async function relayOnce(
  pool: TransactionClient,
  publisher: Publisher,
  { batch = 1_000, onPublished, failpoint }: Pick<RelayOptions, 'batch' | 'onPublished' | 'failpoint'>,
): Promise<number> {
  const rows = await unpublished(pool, batch)
  if (rows.length === 0) return 0
  await failpoint?.('outbox.read')
  await publisher.publish(rows.map(messageOf))
  await failpoint?.('outbox.published')
  await pool.query(`delete from eventing.outbox where id = any($1::uuid[])`, [rows.map(({ id }) => id)])
  await failpoint?.('outbox.deleted')
  onPublished?.(rows.length)
  return rows.length
}

interface OutboxRow {
  readonly id: string
  readonly aggregatetype: string
  readonly aggregateid: string
  readonly type: string
  /** JSON */
  readonly payload: string
  readonly headers: Record<string, string>
  readonly topic: string | null
}

/**
 * The oldest rows whose transactions are older than every open one, so that none can come in between later. A number that
 * this cluster has not given out yet is from the one that the database was restored from.
 */
async function unpublished(pool: TransactionClient, limit: number): Promise<OutboxRow[]> {
  const { rows } = await pool.query(
    `select id, aggregatetype, aggregateid, type, payload::text, headers, topic from eventing.outbox
     where tx < pg_snapshot_xmin(pg_current_snapshot()) or tx >= pg_snapshot_xmax(pg_current_snapshot())
     order by seq limit $1`,
    [limit],
  )
  return rows as OutboxRow[]
}

function messageOf({ id, aggregatetype, aggregateid, type, payload, headers, topic }: OutboxRow): OutboundMessage {
  return {
    topic: topic ?? `outbox.event.${aggregatetype}`,
    key: aggregateid,
    value: payload,
    headers: { ...headers, id, type },
  }
}

/** What waits in the outbox. */
export interface OutboxState {
  readonly waiting: number
  /** of the oldest one, seconds; 0 = none waits */
  readonly seconds: number
}

export async function readOutbox(client: TransactionClient): Promise<OutboxState> {
  const { rows } = await client.query(
    `select count(*)::float8 as waiting,
       coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as seconds from eventing.outbox`,
  )
  return rows[0] as OutboxState
}

/** The turn of a process that is not heard of for so long is over, milliseconds. */
const SLEEPS = 10_000

/** Waits until no other process works on this outbox. The lock is the connection's, and gone with it. */
async function ourTurn(pool: ConnectionPool, signal: AbortSignal): Promise<AsyncDisposable & { throwIfOver(): void }> {
  const client: PooledClient = await pool.connect()
  let lost: Error | null = null
  let beat: NodeJS.Timeout | undefined
  const onError = (error: Error): void => {
    lost = error
  }
  client.on('error', onError)
  const release = (): void => {
    clearInterval(beat)
    client.off('error', onError)
    // closed, not handed back: it holds the lock
    client.release(true)
  }
  try {
    await client.query(`set idle_session_timeout = ${SLEEPS}`)
    while (!(await tryLock(client))) await pause(500, signal)
  } catch (error) {
    release()
    throw error
  }
  beat = setInterval(() => void client.query('select 1').catch(onError), SLEEPS / 3)
  return {
    throwIfOver() {
      if (lost !== null) throw lost
    },
    [Symbol.asyncDispose]: async () => release(),
  }
}

async function tryLock(client: TransactionClient): Promise<boolean> {
  const { rows } = await client.query(`select pg_try_advisory_lock($1) as ours`, [LOCK])
  return (rows[0] as { ours: boolean }).ours
}
