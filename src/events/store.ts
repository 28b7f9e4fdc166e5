import { randomUUID } from 'node:crypto'
import { Doorbell } from '../bell.ts'
import { MigrateError } from '../errors.ts'
import { GroupQueue } from '../group-queue.ts'
import type { ConnectionPool, TransactionClient } from '../model/service-database.ts'
import { isTransient } from '../model/transient.ts'
import { retry } from '../retry.ts'
import { encodeIds, encodeJson } from './encode.ts'
import { inTransaction } from '../transaction.ts'
import { type Append, appendAll, type Appended, type ExpectedVersion } from './append.ts'
import type { EventDefinitions, EventOf, NewEvent, StoredEvent } from './define.ts'
import { readStream, type ReadOptions } from './read.ts'
import { loadSnapshot, saveSnapshot, type Snapshot } from './snapshot.ts'

/** The channel on which subscribers are told that there may be something new. */
export const CHANNEL = 'eventing_events'

export interface EventStoreOptions<Definitions extends EventDefinitions> {
  readonly events: Definitions
  /** new streams get a hash chain, which `migrate events verify` checks; default false */
  readonly chained?: boolean
  /** an append is tried again for so long while the database is away, milliseconds; default 10 s */
  readonly patience?: number
  /** for tests of crashes: `events.before-commit`, `events.after-commit` */
  readonly failpoint?: (name: string) => Promise<void>
}

export interface AppendOptions {
  readonly expectedVersion: ExpectedVersion
}

/** Events of a service, in streams, on its own PostgreSQL. Several processes may share one store. */
export class EventStore<Definitions extends EventDefinitions> {
  readonly definitions: Definitions
  readonly pool: ConnectionPool
  readonly #options: EventStoreOptions<Definitions>
  readonly #queue: GroupQueue<Append, Appended>
  readonly #doorbell: Doorbell

  /** Schema `eventing` has to be installed, see `installEventing`. Nothing is contacted yet. */
  constructor(pool: ConnectionPool, options: EventStoreOptions<Definitions>) {
    this.pool = pool
    this.definitions = options.events
    this.#options = options
    this.#queue = new GroupQueue<Append, Appended>({
      write: (appends) => this.#commit(appends),
      keyOf: ({ stream }) => stream,
      bytesOf: ({ events }) => events.reduce((sum, { data, metadata }) => sum + data.length + metadata.length, 0),
    })
    this.#doorbell = new Doorbell(pool, CHANNEL)
  }

  /**
   * Appends all events, or none, in a transaction that it shares with other appends of this moment. Tried again, with the
   * same ids, when the database was away, so that a lost answer does not append twice. Throws STREAM_CONFLICT when the
   * stream is not as expected, EVENTS_OVERLAP when some of the ids are stored already, EVENT_INVALID, EVENT_UNKNOWN.
   */
  async append(
    stream: string,
    events: readonly NewEvent<EventOf<Definitions>>[],
    { expectedVersion }: AppendOptions,
  ): Promise<Appended> {
    const append = await this.#prepare(stream, events, expectedVersion)
    if (append.events.length === 0) return this.#nothing(this.pool, append)
    const giveUpAfter = this.#options.patience ?? 10_000
    const signal = new AbortController().signal
    const done = await retry(() => this.#queue.add(append), {
      signal,
      giveUpAfter,
      first: 50,
      slowest: 1_000,
      passes: isTransient,
    })
    this.#doorbell.ring()
    return done
  }

  /** The same inside a transaction of the caller, which decides on it: after an error it can only be rolled back. */
  async appendIn(
    tx: TransactionClient,
    stream: string,
    events: readonly NewEvent<EventOf<Definitions>>[],
    { expectedVersion }: AppendOptions,
  ): Promise<Appended> {
    const append = await this.#prepare(stream, events, expectedVersion)
    if (append.events.length === 0) return this.#nothing(tx, append)
    const [result] = await appendAll(tx, [append], this.#options.chained ?? false)
    if (result instanceof MigrateError) throw result
    this.#doorbell.ring()
    return result as Appended
  }

  /** Events of one stream in order, at most `limit` (default 1,000) from version `from` on; none = there are no more. */
  read(stream: string, options?: ReadOptions): Promise<StoredEvent<EventOf<Definitions>>[]> {
    return readStream<EventOf<Definitions>>(this.pool, this.definitions, stream, options)
  }

  /** The same inside a transaction of the caller: on its connection, and with what it has appended itself. */
  readIn(tx: TransactionClient, stream: string, options?: ReadOptions): Promise<StoredEvent<EventOf<Definitions>>[]> {
    return readStream<EventOf<Definitions>>(tx, this.definitions, stream, options)
  }

  /** All events of one stream from version `from` on, page by page. */
  async *readAll(stream: string, from = 1): AsyncGenerator<StoredEvent<EventOf<Definitions>>> {
    for (let next = from; ; ) {
      const page = await this.read(stream, { from: next })
      yield* page
      const last = page.at(-1)
      if (last === undefined) return
      next = last.version + 1
    }
  }

  /** Keeps a state so that a long stream need not be read from its beginning; an older one of the stream is replaced. */
  saveSnapshot(stream: string, snapshot: Snapshot): Promise<void> {
    return saveSnapshot(this.pool, stream, snapshot)
  }

  /** The stream's snapshot; null when there is none of this `schemaVersion`: states of other versions are not used. */
  loadSnapshot(stream: string, schemaVersion: number): Promise<Snapshot | null> {
    return loadSnapshot(this.pool, stream, schemaVersion)
  }

  async #prepare(
    stream: string,
    events: readonly NewEvent<EventOf<Definitions>>[],
    expected: ExpectedVersion,
  ): Promise<Append> {
    if (stream === '')
      throw new MigrateError('EVENT_INVALID', { type: 'stream', reason: 'the name of a stream is empty' })
    if (typeof expected === 'number' && !(Number.isSafeInteger(expected) && expected >= 0)) {
      throw new MigrateError('EVENT_INVALID', { type: 'expectedVersion', reason: 'it is not a version' })
    }
    return {
      stream,
      expected,
      events: encodeIds(await Promise.all(events.map((event) => this.#encode(stream, event)))),
    }
  }

  async #encode(stream: string, { type, data, id, metadata }: NewEvent<EventOf<Definitions>>) {
    const definition = Object.hasOwn(this.definitions, type) ? this.definitions[type] : undefined
    if (definition === undefined) throw new MigrateError('EVENT_UNKNOWN', { type, stream })
    const checked = await definition.schema?.['~standard'].validate(data)
    if (checked?.issues !== undefined) {
      throw new MigrateError('EVENT_INVALID', { type, reason: checked.issues.map(({ message }) => message).join('; ') })
    }
    return {
      ...{ id: id ?? randomUUID(), type, schemaVersion: definition.schemaVersion },
      data: encodeJson(type, data ?? null),
      metadata: encodeJson(type, metadata ?? {}),
    }
  }

  /** No events: only the expectation counts. */
  async #nothing(client: TransactionClient, { stream, expected }: Append): Promise<Appended> {
    const { rows } = await client.query(`select version::text from eventing.stream where aggregate_id = $1`, [stream])
    const version = Number((rows[0] as { version: string } | undefined)?.version ?? 0)
    const fits =
      expected === 'any' ||
      (expected === 'exists' ? version > 0 : version === (expected === 'no-stream' ? 0 : expected))
    if (!fits) throw new MigrateError('STREAM_CONFLICT', { stream, expected, found: version })
    return { version, repeated: false }
  }

  async #commit(appends: readonly Append[]): Promise<(Appended | MigrateError)[]> {
    const { failpoint, chained = false } = this.#options
    // a statement by itself is a transaction, one round trip to the server instead of three
    if (failpoint === undefined) return appendAll(this.pool, appends, chained)
    const results = await inTransaction(this.pool, async (tx) => {
      const done = await appendAll(tx, appends, chained)
      await failpoint('events.before-commit')
      return done
    })
    await failpoint('events.after-commit')
    return results
  }
}
