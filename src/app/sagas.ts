import { asMigrateError, MigrateError } from '../errors.ts'
import type { Database } from '../model/sql.ts'
import { pause } from '../model/pause.ts'
import { giveOrder, type Order, planOrder } from '../saga/operate.ts'
import { type Ahead, aheadOf } from '../saga/prospect.ts'
import {
  listLocks,
  type ListOptions,
  listSagas,
  type LockRow,
  readStats,
  type SagaDetails,
  type SagaRow,
  type SagaStats,
  showSaga,
} from '../saga/read.ts'
import { evolve, type SagaState, stateOf } from '../saga/state.ts'
import { eventingOf } from './eventing.ts'
import type { App } from './open.ts'

export async function sagasOf(app: App, service: string, options: ListOptions): Promise<SagaRow[]> {
  return listSagas(await eventing(app, service), options)
}

/** Throws SAGA_UNKNOWN, SAGA_AMBIGUOUS. */
export async function sagaOf(app: App, service: string, id: string): Promise<SagaDetails> {
  return showSaga(await eventing(app, service), service, id)
}

export async function locksOf(app: App, service: string): Promise<LockRow[]> {
  return listLocks(await eventing(app, service))
}

export async function statsOf(app: App, service: string): Promise<SagaStats> {
  return readStats(await eventing(app, service))
}

export interface SagaWatcher {
  /** says when it is enough */
  readonly onLook: (saga: SagaDetails) => 'more' | 'enough'
  /** a look that failed, and is tried again */
  readonly onTrouble: (error: MigrateError) => void
  readonly signal: AbortSignal
}

/** Looks again and again until the signal, also through an outage that began after the first look. */
export async function watchSaga(app: App, service: string, id: string, watcher: SagaWatcher): Promise<SagaDetails> {
  const { onLook, onTrouble, signal } = watcher
  const database = await eventing(app, service)
  let saga = await showSaga(database, service, id)
  let more = onLook(saga) === 'more'
  while (more) {
    await pause(LOOK_EVERY, signal).catch(() => undefined)
    if (signal.aborted) break
    try {
      saga = await showSaga(database, service, saga.id)
      more = onLook(saga) === 'more'
    } catch (thrown) {
      const error = asMigrateError(thrown)
      if (error.retry !== 'timed') throw thrown
      onTrouble(error)
    }
  }
  return saga
}

const LOOK_EVERY = 250

/** What became of one order. */
export interface Ordered {
  readonly saga: SagaDetails
  /** null: it was only asked what it would do, or it was not possible */
  readonly after: SagaState | null
  /** what follows, or would; null: it was not possible */
  readonly ahead: Ahead | null
  readonly error: MigrateError | null
}

/**
 * Gives an order to sagas, each in a transaction of its own: where one is not possible (SAGA_NOT_POSSIBLE, SAGA_MOVED) the
 * others are given all the same. `expectSeq`: entry of the journal that was seen, null = the one that is read now. Throws
 * SAGA_UNKNOWN and SAGA_AMBIGUOUS before anything is done.
 */
export async function orderSagas(
  app: App,
  service: string,
  {
    ids,
    order,
    expectSeq,
    dryRun,
  }: { ids: readonly string[]; order: Order; expectSeq: number | null; dryRun: boolean },
): Promise<Ordered[]> {
  const database = await eventing(app, service)
  const found: SagaDetails[] = []
  for (const id of ids) found.push(await showSaga(database, service, id))
  const give = async (saga: SagaDetails): Promise<Pick<Ordered, 'after' | 'ahead'>> => {
    const seq = expectSeq ?? saga.seq
    if (saga.seq !== seq)
      throw new MigrateError('SAGA_MOVED', { saga: saga.id, service, found: saga.seq, expected: seq })
    if (dryRun) {
      const planned = evolve(stateOf(saga.journal), [planOrder(saga, service, order)], Date.now())
      return { after: null, ahead: aheadOf(saga, planned) }
    }
    const after = await database.transaction((tx) => giveOrder(tx, saga, { ...order, service, expectSeq: seq }))
    return { after, ahead: aheadOf(saga, after) }
  }
  const done: Ordered[] = []
  for (const saga of found) {
    try {
      done.push({ saga, ...(await give(saga)), error: null })
    } catch (error) {
      if (!(error instanceof MigrateError)) throw error
      done.push({ saga, after: null, ahead: null, error })
    }
  }
  // workers look by themselves before long
  if (!dryRun) await database.query(`select pg_notify('eventing_saga', '')`).catch(() => undefined)
  return done
}

/** Throws EVENTING_MISSING. */
const eventing = (app: App, service: string): Promise<Database> => eventingOf(app, service, 'saga')
