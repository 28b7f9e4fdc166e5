import { asMigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import { inTransaction } from '../transaction.ts'
import type { AnySaga } from './definition.ts'
import type { Claimed } from './journal.ts'

export interface LeaseOptions {
  readonly host: string
  /** milliseconds */
  readonly ttl: number
  readonly sagas: readonly AnySaga[]
}

/** Milliseconds after which a saga that could not be moved on is tried again. */
const AFTER_DEFECT = 10_000

/** A worker's row, by which others see that it lives. It counts by the database's clock, and keeps nobody from writing: epochs do. */
export class Lease {
  readonly #pool: ConnectionPool
  readonly #options: LeaseOptions
  #worker: string | null = null
  #looked = Number.NEGATIVE_INFINITY

  constructor(pool: ConnectionPool, options: LeaseOptions) {
    this.#pool = pool
    this.#options = options
  }

  /** null: not yet, or not any more */
  get worker(): string | null {
    return this.#worker
  }

  /** Renews it, three times in its length, and begins a new one when others took it away. Resolves when the signal aborts. */
  async keep(signal: AbortSignal, onTrouble: (error: Error) => void): Promise<void> {
    while (!signal.aborted) {
      const kept = await this.#renew().catch((error: unknown) => {
        onTrouble(asMigrateError(error))
        return false
      })
      await pause(kept ? this.#options.ttl / 3 : Math.min(200, this.#options.ttl / 3), signal).catch(() => undefined)
    }
  }

  /** Now and then gives back what this worker has and does not know of: the answer to a start or a claim was lost. */
  async giveUpLost(known: () => readonly string[]): Promise<void> {
    if (performance.now() < this.#looked + this.#options.ttl / 3) return
    this.#looked = performance.now()
    // until the statement has a connection others may have been started here
    await this.#pool.query(
      `update eventing.saga set owner = null, epoch = epoch + 1, due_at = clock_timestamp()
       where owner = $1 and id <> all ($2::uuid[])
         and (epoch > 0 or started_at < clock_timestamp() - $3 * interval '1 ms')`,
      [this.#worker, known(), this.#options.ttl],
    )
  }

  /** Gives back one that could not be moved on, for reasons that a while may change. */
  async drop({ id, epoch }: Claimed): Promise<void> {
    await this.#pool.query(
      `update eventing.saga set owner = null, epoch = epoch + 1, deaths = deaths + 1,
         due_at = clock_timestamp() + $3 * interval '1 ms'
       where id = $1 and epoch = $2 and ended_at is null`,
      [id, epoch, AFTER_DEFECT],
    )
  }

  /** Gives back everything, and the row. */
  async end(): Promise<void> {
    const worker = this.#worker
    if (worker === null) return
    await inTransaction(this.#pool, async (tx) => {
      // the row first: it waits for starts under way, and those after it find no owner
      await tx.query(`delete from eventing.saga_worker where id = $1`, [worker])
      await tx.query(
        `update eventing.saga set owner = null, epoch = epoch + 1, due_at = clock_timestamp() where owner = $1`,
        [worker],
      )
    })
    this.#worker = null
  }

  async #renew(): Promise<boolean> {
    const { host, ttl, sagas } = this.#options
    if (this.#worker !== null) {
      const { rowCount } = await this.#pool.query(
        `update eventing.saga_worker set lease_until = clock_timestamp() + $2 * interval '1 ms' where id = $1`,
        [this.#worker, ttl],
      )
      if (rowCount === 1) return true
      this.#worker = null
    }
    const { rows } = await this.#pool.query(
      `insert into eventing.saga_worker (host, names, versions, lease_until)
       values ($1, $2, $3, clock_timestamp() + $4 * interval '1 ms') returning id::text`,
      [host, sagas.map(({ name }) => name), sagas.map(({ version }) => version), ttl],
    )
    this.#worker = (rows[0] as { id: string }).id
    return true
  }
}
