import { hostname } from 'node:os'
import { Bell } from '../bell.ts'
import { asMigrateError, MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import type { AnySaga } from './definition.ts'
import { Driver, type Stint } from './driver.ts'
import { type Claimed, claimSagas, type Move, type Moved, wakeSagas } from './journal.ts'
import { keepHouse } from './keep-house.ts'
import { Lease } from './lease.ts'
import type { Engine } from './record.ts'
import { claimedFrom, type Launch } from './start.ts'
import type { SagaState } from './state.ts'

export interface WorkerOptions {
  readonly pool: ConnectionPool
  readonly sagas: readonly AnySaga[]
  readonly concurrency: number
  readonly ttl: number
  readonly poll: number
  readonly keepDays: number
  readonly alerts: Alerts | null
  readonly service: string
  readonly signal: AbortSignal
  readonly channel: string
  readonly failpoint: ((name: string) => Promise<void>) | null
  readonly commit: (move: Move) => Promise<Moved | null>
  /** tells all processes that something is due */
  readonly ring: () => void
  readonly ended: (id: string, state: SagaState) => void
  readonly onTrouble: (error: Error) => void
}

/** Runs the sagas of one process: claims what is due, keeps its lease, and cleans up behind those that have died. */
export class SagaWorker {
  readonly #options: WorkerOptions
  readonly #lease: Lease
  readonly #bell: Bell
  /** under way, with the epoch of the stint */
  readonly #running = new Map<string, Promise<void>>()
  /** being started here */
  readonly #expected = new Set<string>()
  #wake: (() => void) | null = null
  /** a stint has ended, or a start was answered */
  #heard: (() => void) | null = null
  /** something became due during the last look */
  #again = false
  /** something may be due that there was no room for */
  #full = false
  /** targets that were given back, and nobody was woken yet */
  readonly #freed = new Set<string>()
  #waking: Promise<void> | null = null
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(options: WorkerOptions) {
    const { pool, sagas, ttl, channel } = options
    this.#options = options
    this.#bell = new Bell(pool, channel)
    this.#lease = new Lease(pool, { host: `${hostname()}/${process.pid}`, ttl, sagas })
  }

  get onTrouble(): (error: Error) => void {
    return this.#options.onTrouble
  }

  has(id: string): boolean {
    return this.#running.has(id)
  }

  /** The worker that a saga which is started now may belong to; null when there is no room. */
  expect(id: string): string | null {
    const { concurrency, signal } = this.#options
    if (signal.aborted || this.#running.size + this.#expected.size >= concurrency) return null
    const worker = this.#lease.worker
    if (worker !== null) this.#expected.add(id.toLowerCase())
    return worker
  }

  forget(id: string): void {
    this.#expected.delete(id.toLowerCase())
    this.#heard?.()
  }

  adopt(launch: Launch, at: number): void {
    this.#drive(launch.definition, claimedFrom(launch, at), launch.owner as string, true)
  }

  async run(): Promise<void> {
    const { signal, onTrouble } = this.#options
    const ending = new AbortController()
    const beating = this.#lease.keep(ending.signal, onTrouble)
    const cleaning = keepHouse(this.#options, ending.signal)
    try {
      while (!signal.aborted) {
        const more = await this.#round().catch((error: unknown) => {
          onTrouble(asMigrateError(error))
          return false
        })
        if (!more) await this.#rest()
      }
      await this.#settled()
      await this.#waking
    } finally {
      ending.abort()
      for (const timer of this.#timers) clearTimeout(timer)
      this.#bell.close()
      await Promise.allSettled([beating, cleaning])
      await this.#lease.end().catch(onTrouble)
    }
  }

  /** Until everything that is under way has ended, what is being started here included. */
  async #settled(): Promise<void> {
    while (this.#running.size + this.#expected.size > 0) {
      await new Promise<void>((resolve) => {
        this.#heard = resolve
      })
    }
  }

  /** Claims what there is room for. True: there may be more. */
  async #round(): Promise<boolean> {
    const { pool, sagas, concurrency } = this.#options
    const worker = this.#lease.worker
    const room = concurrency - this.#running.size - this.#expected.size
    this.#full = room <= 0
    if (worker === null || room <= 0) return false
    await this.#lease.giveUpLost(() => [...this.#running.keys(), ...this.#expected])
    const names = sagas.map(({ name }) => name)
    const versions = sagas.map(({ version }) => version)
    const claimed = await claimSagas(pool, worker, { names, versions }, Math.min(room, MOST))
    for (const saga of claimed) {
      const definition = sagas.find(({ name, version }) => name === saga.name && version === saga.version)
      if (definition === undefined)
        throw new MigrateError('SAGA_NOT_DEFINED', { saga: saga.name, version: saga.version })
      this.#drive(definition, saga, worker, false)
    }
    this.#full = claimed.length === Math.min(room, MOST)
    return this.#full
  }

  #drive(definition: AnySaga, saga: Claimed, worker: string, fresh: boolean): void {
    const { id } = saga
    // the last stint of this saga may be about to end here
    const before = this.#running.get(id) ?? Promise.resolve()
    const running = before.then(async () => {
      try {
        this.#tell(id, await new Driver(this.#engine(worker), definition, saga).run(fresh))
      } catch (error) {
        this.#options.onTrouble(asMigrateError(error))
        await this.#lease.drop(saga).catch(this.#options.onTrouble)
      }
    })
    this.#running.set(id, running)
    void running.then(() => {
      if (this.#running.get(id) === running) this.#running.delete(id)
      this.#heard?.()
      if (this.#full) this.#lookAgain()
    })
  }

  #tell(id: string, stint: Stint): void {
    if (stint.end === 'ended' || stint.end === 'stuck') this.#options.ended(id, stint.state)
  }

  #engine(worker: string): Engine {
    const { pool, ttl, signal, commit, failpoint } = this.#options
    return {
      ...{ pool, worker, ttl, draining: signal, commit, failpoint },
      due: (after) => {
        // what is further away is found by looking
        if (after > LONGEST_TIMER) return
        const timer = setTimeout(() => {
          this.#timers.delete(timer)
          this.#lookAgain()
        }, after)
        this.#timers.add(timer)
      },
      freed: (targets) => {
        for (const target of targets) this.#freed.add(target)
        this.#waking ??= this.#wakeOthers().finally(() => {
          this.#waking = null
        })
      },
    }
  }

  /** Whoever dies here leaves it to the reaper. */
  async #wakeOthers(): Promise<void> {
    const { pool, ring, onTrouble } = this.#options
    while (this.#freed.size > 0) {
      const targets = [...this.#freed]
      this.#freed.clear()
      try {
        if ((await wakeSagas(pool, targets)) === 0) continue
        // others too: there may be no room here
        ring()
        this.#lookAgain()
      } catch (error) {
        onTrouble(asMigrateError(error))
      }
    }
  }

  #lookAgain(): void {
    if (this.#wake === null) this.#again = true
    else this.#wake()
  }

  /** Until somebody rings, something is due, or there is room again. */
  async #rest(): Promise<void> {
    const { poll, signal } = this.#options
    if (this.#again) {
      this.#again = false
      return
    }
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    await this.#bell.wait(poll, AbortSignal.any([signal, woken.signal]))
    this.#wake = null
  }
}

/** Milliseconds. */
const LONGEST_TIMER = 60_000

/** Sagas that are claimed at once. */
const MOST = 100
