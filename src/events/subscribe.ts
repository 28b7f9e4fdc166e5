import { Bell } from '../bell.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { isTransient } from '../model/transient.ts'
import { retry } from '../retry.ts'
import { inTransaction } from '../transaction.ts'
import { moveCheckpoint, openCheckpoint } from './checkpoint.ts'
import type { EventDefinitions, EventOf, EventPosition, StoredEvent } from './define.ts'
import { type Horizon, readHorizon } from './horizon.ts'
import { readAfter } from './read.ts'
import { CHANNEL, type EventStore } from './store.ts'
import { storedEvent } from './upcast.ts'

export interface SubscriptionOptions<Definitions extends EventDefinitions> {
  /** of its checkpoint; one name, one order of events, however many processes run it */
  readonly name: string
  /**
   * Handles events in order. What it writes through `tx` is committed together with the checkpoint, so exactly once;
   * anything else it does may happen again after a crash. When it throws, the same events come again.
   */
  readonly handle: (tx: TransactionClient, events: StoredEvent<EventOf<Definitions>>[]) => Promise<void>
  readonly signal: AbortSignal
  /** where a new subscription begins; default before all events */
  readonly from?: EventPosition
  /** events of one transaction at most; default 500 */
  readonly batch?: number
  /** how often it looks when nobody rings, milliseconds; default 500 */
  readonly poll?: number
  /** Committed events wait for an open transaction for longer than `horizonLimit`; once until it is over, then null. */
  readonly onHorizon?: (horizon: Horizon | null) => void
  /** seconds; default 5 */
  readonly horizonLimit?: number
  /** an attempt that failed and is made again */
  readonly onRetry?: (error: Error) => void
  /** for tests of crashes: `events.handled` */
  readonly failpoint?: (name: string) => Promise<void>
  /** all events that were there are handled; comes again after each further batch */
  readonly onCaughtUp?: () => Promise<void>
}

/**
 * Hands all events of the store to `handle`, in the order in which transactions began to write, which keeps the order of
 * each stream, without a gap and each once. Runs until the signal aborts, and resolves then; failures of the database
 * are waited out. Rejects with what `handle` throws.
 */
export async function subscribe<Definitions extends EventDefinitions>(
  store: EventStore<Definitions>,
  options: SubscriptionOptions<Definitions>,
): Promise<void> {
  const { signal, poll = 500 } = options
  const bell = new Bell(store.pool, CHANNEL)
  const horizon = new HorizonWatch(store, options)
  try {
    while (!signal.aborted) {
      const patient = {
        signal,
        first: 100,
        slowest: 5_000,
        passes: isTransient,
        onRetry: (error: Error) => options.onRetry?.(error),
      }
      const handled = await retry(() => handleNext(store, options), patient)
      if (handled === 'more') continue
      await options.onCaughtUp?.()
      await retry(() => horizon.look(), patient)
      await bell.wait(poll, signal)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    bell.close()
  }
}

/** One batch. `more`: there may be further events at once. */
async function handleNext<Definitions extends EventDefinitions>(
  store: EventStore<Definitions>,
  { name, from, batch = 500, handle, failpoint }: SubscriptionOptions<Definitions>,
): Promise<'more' | 'caught up'> {
  const at = await openCheckpoint(store.pool, name, from)
  const rows = await readAfter(store.pool, at, batch)
  const events = rows.map((row) => storedEvent<EventOf<Definitions>>(row, store.definitions))
  const last = events.at(-1)
  if (last === undefined) return 'caught up'
  const moved = await inTransaction(store.pool, async (tx) => {
    // first, so that a second process waits here, and finds that it is too late
    if (!(await moveCheckpoint(tx, name, { from: at, to: last.position, events: events.length }))) return false
    await handle(tx, events)
    await failpoint?.('events.handled')
    return true
  })
  // moved by somebody else, it may be anywhere
  return moved && events.length < batch ? 'caught up' : 'more'
}

class HorizonWatch<Definitions extends EventDefinitions> {
  readonly #store: EventStore<Definitions>
  readonly #options: SubscriptionOptions<Definitions>
  #held = false

  constructor(store: EventStore<Definitions>, options: SubscriptionOptions<Definitions>) {
    this.#store = store
    this.#options = options
  }

  async look(): Promise<void> {
    const { onHorizon, horizonLimit = 5 } = this.#options
    if (onHorizon === undefined) return
    const horizon = await readHorizon(this.#store.pool)
    const held = horizon.seconds > horizonLimit
    if (held && !this.#held) onHorizon(horizon)
    if (!held && this.#held) onHorizon(null)
    this.#held = held
  }
}
