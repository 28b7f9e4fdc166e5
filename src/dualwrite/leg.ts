import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'undici'
import { formatLsn, type Lsn } from '../model/lsn.ts'
import type { IntentOutcome, Intents } from './intents.ts'
import { uuidv7 } from './key.ts'
import { InTurn } from './in-turn.ts'
import { sendLeg } from './send-leg.ts'
import { within } from '../model/within.ts'

export interface LegOptions {
  /** origins of the services by name */
  readonly services: ReadonlyMap<string, string>
  readonly intents: Intents
  readonly clock: { now(): number }
  /** time from the monolith's answer within which a leg must have ended; below the sink's grace. Default 800 ms */
  readonly legDeadlineMs?: number | undefined
  /** time that making an intent durable may add to a client's write. Default 250 ms */
  readonly intentDeadlineMs?: number | undefined
  readonly log?: ((line: string) => void) | undefined
}

/** How the second legs of this instance have ended. */
export interface LegCounters {
  /** requests sent to a service */
  readonly sent: number
  /** answered by `idempotent()` with the monolith's status class */
  readonly answered: number
  /** answered by `idempotent()` with another status class */
  readonly different: number
  /** never sent: no intent in time, no 2xx from the monolith, body too large */
  readonly skipped: number
  /** left open for the sink to revoke: no answer in time, connection lost, turn came too late, not `idempotent()` */
  readonly failed: number
  /** the service says that the key is revoked, or refuses the epoch or the age of it */
  readonly revoked: number
}

export interface Write {
  readonly service: string
  readonly epoch: number
  readonly instance: string
  readonly method: string
  readonly target: string
  readonly headers: readonly string[]
  readonly body: Buffer | null
}

export interface Answer {
  readonly status: number | null
  readonly id: string | null
  readonly position: Promise<Lsn | null>
}

/** Implements the router's port for second legs. */
export class SecondLegs {
  readonly #options: LegOptions
  readonly #pools: ReadonlyMap<string, Pool>
  readonly #deadlineMs: number
  readonly #leastMs: number
  readonly #inTurn = new InTurn()
  readonly #counters = { sent: 0, answered: 0, different: 0, skipped: 0, failed: 0, revoked: 0 }
  readonly #running = new Set<Promise<void>>()

  constructor(options: LegOptions) {
    this.#options = options
    this.#deadlineMs = options.legDeadlineMs ?? 800
    this.#leastMs = this.#deadlineMs / 16
    const pools = [...options.services].map(([name, url]): [string, Pool] => [name, new Pool(url, POOL)])
    this.#pools = new Map(pools)
  }

  /** Makes the intent durable; null = that failed, so no leg may follow. */
  async open(write: Write): Promise<{ answered(answer: Answer): Promise<void> } | null> {
    const { intents, clock, intentDeadlineMs = 250 } = this.#options
    const { service, epoch, instance, method, target } = write
    const key = uuidv7(clock.now())
    const opening = intents.open({ key, service, epoch, instance, method, path: target.split('?', 1)[0] as string })
    try {
      await within(opening, intentDeadlineMs)
    } catch (error) {
      this.skipped(service, `no intent: ${(error as Error).message}`)
      // It may still become durable later; nobody will send it. A rejection is the one just counted.
      const late = (): Promise<void> => this.#settle(key, { state: 'skipped', why: 'the intent came too late' })
      void this.#track(opening.then(late, () => undefined))
      return null
    }
    return { answered: (answer) => this.#track(this.#answered(write, key, answer)) }
  }

  skipped(service: string, why: string): void {
    this.#counters.skipped++
    this.#options.log?.(`${service}: a write has no second leg: ${why}`)
  }

  counters(): LegCounters {
    return { ...this.#counters }
  }

  /** Waits for the legs under way. */
  async close(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()))
  }

  async #answered(write: Write, key: string, { status, id, position }: Answer): Promise<void> {
    if (status === null || status < 200 || status > 299) {
      this.#counters.skipped++
      const why = status === null ? 'the monolith gave no answer' : `the monolith answered ${status}`
      return this.#settle(key, { state: 'skipped', why })
    }
    const { clock } = this.#options
    const deadline = clock.now() + this.#deadlineMs
    await this.#inTurn.run(`${write.service} ${entityOf(write.target, id) ?? key}`, async () => {
      const sourceLsn = await within(position, this.#deadlineMs / 4).catch(() => null)
      await this.#send(write, key, { status, id, sourceLsn, left: deadline - clock.now() })
    })
  }

  async #send(
    write: Write,
    key: string,
    { status, id, sourceLsn, left }: { status: number; id: string | null; sourceLsn: Lsn | null; left: number },
  ): Promise<void> {
    // Too little time to be answered in: a request that can only be given up again is not sent.
    if (left < this.#leastMs) return this.#fail(write, 'its turn came after its deadline')
    this.#counters.sent++
    const headers = [...write.headers, 'x-migrate-mode', 'dual-write', 'x-migrate-epoch', String(write.epoch)]
    if (sourceLsn !== null) headers.push('x-migrate-source-lsn', formatLsn(sourceLsn))
    if (id !== null) headers.push('x-migrate-id', id)
    const pool = this.#pools.get(write.service) as Pool
    const { method, target, body } = write
    const answer = await sendLeg(pool, { key, method, target, headers, body, milliseconds: left })
    if (answer.kind === 'failed') return this.#fail(write, answer.why)
    if (answer.leg === 'revoked' || answer.leg === 'refused') {
      this.#counters.revoked++
      return
    }
    const equal = Math.floor(answer.status / 100) === Math.floor(status / 100)
    this.#counters[equal ? 'answered' : 'different']++
    await this.#settle(key, { state: 'answered', status: answer.status, verdict: equal ? 'equal' : 'different' })
  }

  /** The intent stays open, for the sink to revoke: nobody knows whether the leg still runs. */
  #fail({ service }: Write, why: string): void {
    this.#counters.failed++
    this.#options.log?.(`${service}: a second leg failed: ${why}`)
  }

  async #settle(key: string, outcome: IntentOutcome): Promise<void> {
    for (const delay of SETTLE_DELAYS) {
      await wait(delay)
      try {
        return await within(this.#options.intents.settle(key, outcome), SETTLE_MS)
      } catch (error) {
        // Left open in the end: the sink revokes it, which does no harm to a leg that was applied.
        if (delay !== SETTLE_DELAYS.at(-1)) continue
        this.#options.log?.(`the outcome of a second leg was not recorded: ${(error as Error).message}`)
      }
    }
  }

  /** Keeps the promise until it has ended; it never rejects. */
  #track(leg: Promise<void>): Promise<void> {
    const ended = leg.catch((error: Error) => this.#options.log?.(`a second leg broke off: ${error.message}`))
    this.#running.add(ended)
    return ended.finally(() => this.#running.delete(ended))
  }
}

/** Waits before each try to record an outcome, and the time one try may take. */
const SETTLE_DELAYS = [0, 50, 200]
const SETTLE_MS = 1_000

const POOL = { allowH2: false, connections: 128, connectTimeout: 1_000 }

/** What legs are ordered by: the first two segments of the path, for a new row its collection and id; null = nothing. */
function entityOf(target: string, id: string | null): string | null {
  const [collection = '', own] = (target.split('?', 1)[0] as string).split('/').filter((segment) => segment !== '')
  const row = own ?? id
  return row === null ? null : `/${collection}/${row}`
}
