import { pause } from './model/pause.ts'
import type { ConnectionPool, TransactionClient } from './model/service-database.ts'

/** Commits with a NOTIFY wait for each other in all of PostgreSQL, so one tells of much; milliseconds. */
const APART = 10
/** By then most transactions are committed; the others are found by looking. Milliseconds. */
const LATER = 100

/** Tells that there may be something new: a hint, which may get lost, beside the transactions and never in them. */
export class Doorbell {
  readonly #client: TransactionClient
  readonly #channel: string
  #timer: NodeJS.Timeout | null = null

  constructor(client: TransactionClient, channel: string) {
    this.#client = client
    this.#channel = channel
  }

  /** For what a transaction does that is still open: once when it may be committed already, and once more. */
  ringAfter(): void {
    this.ring()
    setTimeout(() => this.ring(), LATER).unref()
  }

  ring(): void {
    if (this.#timer !== null) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      // whoever does not hear it looks by itself before long
      this.#client.query(`select pg_notify($1, '')`, [this.#channel]).catch(() => undefined)
    }, APART)
    this.#timer.unref()
  }
}

/** Hears of it, on a connection of its own; without one it waits for the next look. Close it. */
export class Bell {
  readonly #pool: ConnectionPool
  readonly #channel: string
  #release: (() => void) | null = null
  #ring: (() => void) | null = null
  /** somebody rang while nobody waited: there may be something that the last look did not see */
  #rung = false

  constructor(pool: ConnectionPool, channel: string) {
    this.#pool = pool
    this.#channel = channel
  }

  /** Resolves when somebody rings, after so many milliseconds, and when the signal aborts. */
  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (this.#release === null) await this.#listen().catch(() => undefined)
    if (this.#rung) {
      this.#rung = false
      return
    }
    const rung = new AbortController()
    this.#ring = () => rung.abort()
    try {
      await pause(milliseconds, AbortSignal.any([signal, rung.signal]))
    } catch {
      // somebody has rung, or it is over: the caller looks which
    } finally {
      this.#ring = null
    }
  }

  close(): void {
    this.#release?.()
    this.#release = null
  }

  async #listen(): Promise<void> {
    const client = await this.#pool.connect()
    const onNotification = (): void => {
      if (this.#ring === null) this.#rung = true
      else this.#ring()
    }
    const release = (error?: Error): void => {
      client.off('notification', onNotification)
      client.off('error', release)
      // closed, not handed back: it would go on listening
      client.release(error ?? true)
      if (this.#release === release) this.#release = null
    }
    client.on('notification', onNotification)
    client.on('error', release)
    this.#release = release
    await client.query(`listen ${this.#channel}`)
  }
}
