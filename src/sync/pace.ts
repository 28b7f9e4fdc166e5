import { formatSize } from '../model/size.ts'

/** How fast a pipeline may write. It is asked before each batch, never in the middle of a transaction. */
export interface Pace {
  /** milliseconds until the next batch may be written, 0 = now; 'paused' = not before somebody says so */
  wait(now: number): number | 'paused'
  /** a batch of so many bytes was written */
  wrote(now: number, bytes: number): void
}

export interface Orders {
  readonly paused: boolean
  /** bytes a second; null = no limit */
  readonly rate: number | null
  /** statements at work in the monolith's database, when there is a limit for them */
  readonly sessions: { readonly active: number; readonly limit: number } | null
  /** the log that its slot keeps comes near the limit: catching up matters more than sparing the monolith */
  readonly hurry: boolean
}

/** A busy monolith gets a batch a second: never none, or the slot would keep its log for ever. */
const BUSY_EVERY = 1_000
/** A throttle that has delayed nothing for so long is not worth telling. */
const TOLD_FOR = 2_500

/** Paces a pipeline by bytes a second and by the load of the monolith. */
export class Throttle implements Pace {
  #orders: Orders = { paused: false, rate: null, sessions: null, hurry: false }
  /** bytes that were written beyond the rate are paid for by waiting until then */
  #freeAt = 0
  #wroteAt = Number.NEGATIVE_INFINITY
  #delayed: { readonly at: number; readonly reason: string } | null = null

  obey(now: number, orders: Orders): void {
    // what was written under another rate is forgotten
    if (orders.rate !== this.#orders.rate) this.#freeAt = Math.min(this.#freeAt, now)
    this.#orders = orders
  }

  wait(now: number): number | 'paused' {
    const { paused, rate, sessions, hurry } = this.#orders
    if (paused) return 'paused'
    if (hurry) return 0
    const forRate = rate === null ? 0 : Math.max(0, this.#freeAt - now)
    const busy = sessions !== null && sessions.active > sessions.limit
    const forSessions = busy ? Math.max(0, this.#wroteAt + BUSY_EVERY - now) : 0
    if (forRate + forSessions === 0) return 0
    const reason =
      forRate >= forSessions
        ? `${formatSize(rate ?? 0)} a second at most`
        : `${sessions?.active} statements at work in the monolith, over ${sessions?.limit}`
    this.#delayed = { at: now, reason }
    return Math.max(forRate, forSessions)
  }

  wrote(now: number, bytes: number): void {
    this.#wroteAt = now
    const { rate } = this.#orders
    if (rate !== null) this.#freeAt = Math.max(this.#freeAt, now) + (bytes / rate) * 1_000
  }

  /** Why it has delayed something just now; null = it has not. */
  reason(now: number): string | null {
    return this.#delayed !== null && now - this.#delayed.at < TOLD_FOR ? this.#delayed.reason : null
  }
}
