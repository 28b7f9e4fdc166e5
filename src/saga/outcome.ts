import { Bell } from '../bell.ts'
import { MigrateError } from '../errors.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import { isTransient } from '../model/transient.ts'
import { resultsOf } from './context.ts'
import type { Failure } from './entry.ts'
import { readJournals } from './journal.ts'
import { type SagaState, stateOf } from './state.ts'

/** How a saga ended: it is done; it was taken back; or a human has to decide, and it may still become either. */
export type Outcome<Results> =
  | { readonly status: 'DONE'; readonly results: Results }
  | { readonly status: 'COMPENSATED' | 'STUCK'; readonly failure: Failure }

/** How often it is looked when nobody rings, milliseconds. */
const POLL = 500

interface Waiter {
  resolve(outcome: Outcome<unknown>): void
  reject(error: unknown): void
}

/** Those who wait for sagas, run here or elsewhere. */
export class OutcomeWaiters {
  readonly #pool: ConnectionPool
  readonly #channel: string
  readonly #runsHere: (id: string) => boolean
  readonly #waiting = new Map<string, Set<Waiter>>()
  #looking = false

  constructor(pool: ConnectionPool, channel: string, runsHere: (id: string) => boolean) {
    this.#pool = pool
    this.#channel = channel
    this.#runsHere = runsHere
  }

  wait(id: string, signal: AbortSignal): Promise<Outcome<unknown>> {
    return new Promise((resolve, reject) => {
      const stop = (): void => leave(() => reject(signal.reason as Error))
      const leave = (then: () => void): void => {
        signal.removeEventListener('abort', stop)
        const waiters = this.#waiting.get(id)
        waiters?.delete(waiter)
        if (waiters?.size === 0) this.#waiting.delete(id)
        then()
      }
      const waiter: Waiter = {
        resolve: (outcome) => leave(() => resolve(outcome)),
        reject: (error) => leave(() => reject(error)),
      }
      if (signal.aborted) return reject(signal.reason as Error)
      signal.addEventListener('abort', stop)
      const waiters = this.#waiting.get(id) ?? new Set()
      this.#waiting.set(id, waiters.add(waiter))
      if (!this.#looking) void this.#look()
    })
  }

  /** Tells those who wait here. False: nobody does. */
  settle(id: string, state: SagaState): boolean {
    const waiters = this.#waiting.get(id)
    if (waiters === undefined) return false
    for (const waiter of waiters) waiter.resolve(outcomeOf(state))
    return true
  }

  /** Looks for them as long as there are any. */
  async #look(): Promise<void> {
    this.#looking = true
    const bell = new Bell(this.#pool, this.#channel)
    try {
      while (this.#waiting.size > 0) {
        const elsewhere = [...this.#waiting.keys()].filter((id) => !this.#runsHere(id))
        if (elsewhere.length > 0) await this.#ask(elsewhere)
        if (this.#waiting.size > 0) await bell.wait(POLL, NEVER)
      }
    } finally {
      bell.close()
      this.#looking = false
    }
  }

  async #ask(ids: readonly string[]): Promise<void> {
    try {
      const { rows } = await this.#pool.query(`select id, status from eventing.saga where id = any ($1::uuid[])`, [ids])
      const found = new Map((rows as { id: string; status: string }[]).map(({ id, status }) => [id, status]))
      const over = ids.filter((id) => ['DONE', 'COMPENSATED', 'STUCK'].includes(found.get(id) ?? ''))
      const journals = over.length === 0 ? new Map() : await readJournals(this.#pool, over)
      for (const id of over) this.settle(id, stateOf(journals.get(id) ?? []))
      for (const id of ids.filter((each) => !found.has(each))) {
        const error = new MigrateError('SAGA_UNKNOWN', { saga: id, service: 'this service' })
        for (const waiter of this.#waiting.get(id) ?? []) waiter.reject(error)
      }
    } catch (error) {
      // an outage is waited out
      if (isTransient(error)) return
      for (const waiters of this.#waiting.values()) for (const waiter of waiters) waiter.reject(error)
    }
  }
}

const NEVER = new AbortController().signal

function outcomeOf(state: SagaState): Outcome<unknown> {
  if (state.status === 'DONE') return { status: 'DONE', results: resultsOf(state) }
  const failure = state.failure ?? { step: null, code: 'UNKNOWN', message: '' }
  return { status: state.status === 'STUCK' ? 'STUCK' : 'COMPENSATED', failure }
}
