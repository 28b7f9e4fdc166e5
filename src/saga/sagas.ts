import { randomUUID } from 'node:crypto'
import { Doorbell } from '../bell.ts'
import { MigrateError } from '../errors.ts'
import { UUID } from '../events/encode.ts'
import { GroupQueue } from '../group-queue.ts'
import type { ConnectionPool, TransactionClient } from '../model/service-database.ts'
import { driverFacts, isTransient } from '../model/transient.ts'
import type { Alerts } from '../model/alert.ts'
import { OUTBOX_CHANNEL } from '../outbox/relay.ts'
import { retry } from '../retry.ts'
import { inTransaction } from '../transaction.ts'
import type { AnySaga, SagaDefinition } from './definition.ts'
import { bytesOf, commitMoves, type Move, type Moved } from './journal.ts'
import { type Outcome, OutcomeWaiters } from './outcome.ts'
import { registerDefinitions } from './register.ts'
import { receiveReplies, type SagaReply } from './reply.ts'
import { type Launch, type Launched, launchOf, launchSagas } from './start.ts'
import { SagaWorker } from './worker.ts'

/** The channel on which workers are told that sagas are due, and those who wait that one has ended. */
const CHANNEL = 'eventing_saga'

export interface SagasOptions {
  /** definitions, of one saga also several versions: running sagas go on with the one they began with */
  readonly sagas: readonly AnySaga[]
  /** sagas that this process runs at a time; default 200 */
  readonly concurrency?: number
  /** a worker that is silent for so long loses its sagas to others, milliseconds; default 10,000 */
  readonly ttl?: number
  /** how often it looks for what is due when nobody rings, milliseconds; default 500 */
  readonly poll?: number
  /** days for which sagas that have ended are kept; default 30 */
  readonly keepDays?: number
  /** who is told of sagas that are stuck, have nobody to run them, are late, or tried in vain; see `openSagaAlerts` */
  readonly alerts?: Alerts
  /** name of the service in migrate.yaml, for the commands that alerts name; default "SERVICE" */
  readonly service?: string
  /** what a worker waits out, or cannot do */
  readonly onTrouble?: (error: Error) => void
  /** For tests of crashes: `saga.before-…`, `saga.after-…` of what is written, `saga.call-…`, `saga.called-…`. */
  readonly failpoint?: (name: string) => Promise<void>
}

export interface StartOptions {
  /** UUID; the same id and input again is the same saga. Default a random one. */
  readonly id?: string
  /** W3C trace context, which every step gets */
  readonly traceparent?: string
}

export interface StartInOptions<Results> extends StartOptions {
  /**
   * Compensable steps that the caller has done in this transaction, with their results: they are not asked for, and are
   * taken back also when the saga is cancelled, or late, before it has done anything itself or has its locks.
   */
  readonly done?: Partial<Results>
}

/** A saga that was started. */
export interface StartedSaga<Results> {
  readonly id: string
  /** true: it had been started before, with the same input */
  readonly repeated: boolean
  /**
   * Resolves when it has ended, or is stuck. Rejects when the signal aborts. After `startIn` ask when the transaction is
   * committed: before that there is no such saga.
   */
  outcome(options?: { readonly signal?: AbortSignal }): Promise<Outcome<Results>>
}

/** The sagas of a service, on its own PostgreSQL. Several processes may run them. */
export class Sagas {
  readonly #pool: ConnectionPool
  readonly #options: SagasOptions
  readonly #free: Queues
  /** of what draws or gives back locks: it may wait for a transaction of the service, and keeps nobody else waiting */
  readonly #locking: Queues
  readonly #waiters: OutcomeWaiters
  readonly #doorbell: Doorbell
  /** of the relay */
  readonly #outbox: Doorbell
  #registered: Promise<void> | null = null
  #worker: SagaWorker | null = null

  /** Schema `eventing` has to be installed, see `installEventing`. Nothing is contacted yet. */
  constructor(pool: ConnectionPool, options: SagasOptions) {
    this.#pool = pool
    this.#options = options
    this.#doorbell = new Doorbell(pool, CHANNEL)
    this.#outbox = new Doorbell(pool, OUTBOX_CHANNEL)
    this.#waiters = new OutcomeWaiters(pool, CHANNEL, (id) => this.#worker?.has(id) === true)
    this.#free = openQueues(pool)
    this.#locking = openQueues(pool)
  }

  /**
   * Notes the definitions in the database, once; all else here begins with it. Await it before the first `startIn`, which
   * would take a second connection of the pool for it while it holds one. Throws SAGA_DEFINITION_CHANGED,
   * EVENTING_MISSING.
   */
  register(): Promise<void> {
    this.#registered ??= registerDefinitions(this.#pool, this.#options.sagas).catch((error: unknown) => {
      this.#registered = null
      throw error
    })
    return this.#registered
  }

  /**
   * Starts a saga: when this resolves it is stored, and goes on whatever happens to this process. Without a process that
   * runs sagas it waits for one. Throws SAGA_NOT_DEFINED, SAGA_DEFINITION_CHANGED, SAGA_INPUT_INVALID, SAGA_EXISTS, and
   * what the database says; the same may be started again with the same id.
   */
  async start<Input, Results>(
    definition: SagaDefinition<Input, Results>,
    input: Input,
    { id = randomUUID(), traceparent }: StartOptions = {},
  ): Promise<StartedSaga<Results>> {
    await this.#ready(definition)
    const worker = this.#worker
    const owner = worker?.expect(id) ?? null
    try {
      const launch = await launchOf(definition, input, { id, traceparent: traceparent ?? null, owner })
      const { outcome, owned, at } = await (launch.locks.length > 0 ? this.#locking : this.#free).launches.add(launch)
      if (owned) worker?.adopt(launch, at)
      else this.#doorbell.ring()
      return this.#started(launch.id, outcome === 'exists')
    } finally {
      worker?.forget(id)
    }
  }

  /**
   * The same inside a transaction of the caller, together with what the caller writes there. Commit soon: until then sagas
   * that want the same locks can neither start nor end, and those of one statement with them wait too.
   */
  async startIn<Input, Results>(
    tx: TransactionClient,
    definition: SagaDefinition<Input, Results>,
    input: Input,
    { id = randomUUID(), traceparent, done }: StartInOptions<Results> = {},
  ): Promise<StartedSaga<Results>> {
    await this.#ready(definition)
    const launch = await launchOf(definition, input, { id, traceparent: traceparent ?? null, owner: null, done })
    const [launched] = await launchSagas(tx, [launch])
    if (launched instanceof Error) throw launched
    this.#doorbell.ringAfter()
    return this.#started(launch.id, launched?.outcome === 'exists')
  }

  /** Takes replies to commands into the sagas that wait for them, inside the transaction of a consumer. */
  async receive(tx: TransactionClient, replies: readonly SagaReply[]): Promise<void> {
    if ((await receiveReplies(tx, this.#options.sagas, replies)) > 0) this.#doorbell.ringAfter()
  }

  /** Resolves when the saga has ended, or is stuck. Rejects with SAGA_UNKNOWN. */
  async outcome(id: string, options: { readonly signal?: AbortSignal } = {}): Promise<Outcome<unknown>> {
    // the database would refuse the look for all who wait
    if (!UUID.test(id.toLowerCase())) throw new MigrateError('SAGA_UNKNOWN', { saga: id, service: 'this service' })
    return this.#waiters.wait(id.toLowerCase(), options.signal ?? NEVER)
  }

  /**
   * Runs sagas until the signal aborts: those that are started here, those that are due, and those of processes that have
   * died. Resolves when the steps under way have ended. Needs four connections of the pool, and one for each local step
   * at a time. Throws SAGA_DEFINITION_CHANGED.
   */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    if (this.#worker !== null)
      throw new MigrateError('API_USAGE', {
        reason: 'these sagas run already',
        remedy: 'Call run() once for each object.',
      })
    const {
      concurrency = 200,
      ttl = 10_000,
      poll = 500,
      keepDays = 30,
      alerts = null,
      service = 'SERVICE',
    } = this.#options
    const worker = new SagaWorker({
      ...{ pool: this.#pool, sagas: this.#options.sagas, concurrency, ttl, poll, keepDays, alerts, service, signal },
      ...{ channel: CHANNEL, failpoint: this.#options.failpoint ?? null },
      commit: (move) => this.#commit(move),
      ring: () => this.#doorbell.ring(),
      // whoever waits in another process hears of it
      ended: (id, state) => void (this.#waiters.settle(id, state) || this.#doorbell.ring()),
      onTrouble: (error) => this.#options.onTrouble?.(error),
    })
    this.#worker = worker
    try {
      const passes = isTransient
      await retry(() => this.register(), { signal, first: 200, slowest: 5_000, passes, onRetry: worker.onTrouble })
      await worker.run()
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      this.#worker = null
    }
  }

  #started<Results>(id: string, repeated: boolean): StartedSaga<Results> {
    const outcome = (options?: { readonly signal?: AbortSignal }) => this.outcome(id, options)
    return { id, repeated, outcome: outcome as StartedSaga<Results>['outcome'] }
  }

  async #commit(move: Move): Promise<Moved | null> {
    const { moved } = await (move.unlocks ? this.#locking : this.#free).moves.add(move)
    if (move.messages.length > 0) this.#outbox.ring()
    return moved
  }

  async #ready(definition: AnySaga): Promise<void> {
    if (!this.#options.sagas.includes(definition)) {
      const { name, version } = definition
      throw new MigrateError('SAGA_NOT_DEFINED', { saga: name, version })
    }
    await this.register()
  }
}

const NEVER = new AbortController().signal

interface Queues {
  readonly launches: GroupQueue<Launch, Launched>
  readonly moves: GroupQueue<Move, { readonly moved: Moved | null }>
}

/** What comes at the same time shares statements and commits. */
function openQueues(pool: ConnectionPool): Queues {
  return {
    launches: new GroupQueue({
      write: (launches) => launchAnyhow(pool, launches),
      keyOf: ({ id }) => id,
      bytesOf: ({ input }) => input.length + 500,
    }),
    moves: new GroupQueue({
      write: async (moves) => (await commitMoves(pool, moves)).map((moved) => ({ moved })),
      keyOf: ({ id }) => id,
      bytesOf,
    }),
  }
}

/** Also where transactions are something else by default. */
async function launchAnyhow(pool: ConnectionPool, launches: readonly Launch[]): Promise<(Launched | Error)[]> {
  try {
    return await launchSagas(pool, launches)
  } catch (error) {
    if (driverFacts(error).code !== WRONG_ISOLATION) throw error
    return inTransaction(pool, async (tx) => {
      await tx.query('set transaction isolation level read committed')
      return launchSagas(tx, launches)
    })
  }
}

/** Of eventing.saga_start. */
const WRONG_ISOLATION = '25001'
