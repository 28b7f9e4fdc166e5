import { Pool } from 'undici'
import type { Alerts } from '../model/alert.ts'
import { formatLsn, type Lsn } from '../model/lsn.ts'
import { within } from '../model/within.ts'
import { type LegEnd, sendUntilAnswered } from './attempts.ts'
import { type DeadLetter, KEPT_BODY, type LetterCode } from './dead-letter.ts'
import type { AnswerVerdict, Intents, LegProgress } from './intents.ts'
import { Doubts } from './doubts.ts'
import { InTurn } from './in-turn.ts'
import { judge, type LegVerdict } from './judge.ts'
import { uuidv7 } from './key.ts'
import { LegRecords } from './records.ts'
import { Streaks } from './streaks.ts'

export interface LegOptions {
  readonly services: ReadonlyMap<string, LegService>
  readonly intents: Intents
  readonly clock: { now(): number }
  readonly alerts?: Alerts | undefined
  /** time from the monolith's answer within which a leg must have ended; below the sink's grace. Default 800 ms */
  readonly legDeadlineMs?: number | undefined
  /** time that making an intent durable may add to a client's write. Default 250 ms */
  readonly intentDeadlineMs?: number | undefined
  /** legs of a route in a row, over so long a time, without an answer make one dead letter. Default 20 and 30 s */
  readonly exhausted?: { readonly legs: number; readonly milliseconds: number } | undefined
  readonly log?: ((line: string) => void) | undefined
}

export interface LegService {
  /** origin */
  readonly http: string
  /** it uses `idempotent()`; else its legs cannot be revoked */
  readonly idempotent: boolean
}

/** How the second legs of this instance have ended. */
export interface LegCounters {
  /** legs of which at least one request went out */
  readonly sent: number
  /** further requests of these */
  readonly retried: number
  /** answered with the monolith's status class */
  readonly answered: number
  /** answered with another status class, or another id for a new row */
  readonly different: number
  /** never sent: no intent in time, no 2xx from the monolith, body too large, route halted */
  readonly skipped: number
  /** left open for the sink to revoke: no answer in time, connection lost, turn came too late, not `idempotent()` */
  readonly failed: number
  /** the service says that the key is revoked, or refuses the epoch or the age of it */
  readonly revoked: number
}

export interface Write {
  readonly service: string
  readonly route: string
  readonly epoch: number
  readonly instance: string
  readonly method: string
  readonly target: string
  readonly headers: readonly string[]
  readonly body: Buffer | null
  readonly idOf: (answer: { status: number; location: string | null; body: Buffer | null }) => string | null
}

export interface Answer {
  readonly status: number | null
  readonly id: string | null
  readonly position: Promise<Lsn | null>
}

/** A leg that the monolith's answer has made due. */
interface DueLeg {
  readonly write: Write
  readonly key: string
  readonly status: number
  readonly id: string | null
  readonly entity: string | null
  readonly deadline: number
  readonly position: Promise<Lsn | null>
}

/** Implements the router's port for second legs. */
export class SecondLegs {
  readonly #options: LegOptions
  readonly #pools: ReadonlyMap<string, Pool>
  readonly #deadlineMs: number
  readonly #inTurn = new InTurn()
  readonly #records: LegRecords
  readonly #streaks: Streaks
  readonly #doubts = new Doubts(DOUBT_MS)
  readonly #counters = { sent: 0, retried: 0, answered: 0, different: 0, skipped: 0, failed: 0, revoked: 0 }
  readonly #running = new Set<Promise<void>>()

  constructor(options: LegOptions) {
    this.#options = options
    this.#deadlineMs = options.legDeadlineMs ?? 800
    const { intents, alerts } = options
    this.#records = new LegRecords({ intents, alerts, log: (line) => this.#log(line) })
    this.#streaks = new Streaks(options.exhausted?.legs ?? 20, options.exhausted?.milliseconds ?? 30_000)
    const pools = [...options.services].map(([name, { http }]): [string, Pool] => [name, new Pool(http, POOL)])
    this.#pools = new Map(pools)
  }

  /** Makes the intent durable; null = that failed, so no leg may follow. */
  async open(write: Write): Promise<{ answered(answer: Answer): Promise<void> } | null> {
    const { intents, clock, intentDeadlineMs = 250 } = this.#options
    const { service, epoch, instance, method, target } = write
    const key = uuidv7(clock.now())
    const opening = intents.open({ key, service, epoch, instance, method, path: pathOf(target) })
    try {
      await within(opening, intentDeadlineMs)
    } catch (error) {
      this.skipped(service, `no intent: ${(error as Error).message}`)
      this.#doubt(entityOf(target, null))
      // It may still become durable later; nobody will send it. A rejection is the one just counted.
      const late = (): Promise<void> => this.#records.settle(key, { state: 'skipped', why: 'the intent came too late' })
      void this.#track(opening.then(late, () => undefined))
      return null
    }
    return { answered: (answer) => this.#track(this.#answered(write, key, answer)) }
  }

  skipped(service: string, why: string): void {
    this.#counters.skipped++
    this.#log(`${service}: a write has no second leg: ${why}`)
  }

  counters(): LegCounters {
    return { ...this.#counters }
  }

  /** Waits for the legs under way. */
  async close(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
    await this.#records.close()
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()))
  }

  async #answered(write: Write, key: string, { status, id, position }: Answer): Promise<void> {
    if (status === null || status < 200 || status > 299) {
      this.#counters.skipped++
      const why = status === null ? 'the monolith gave no answer' : `the monolith answered ${status}`
      return this.#records.settle(key, { state: 'skipped', why })
    }
    const deadline = this.#options.clock.now() + this.#deadlineMs
    const entity = entityOf(write.target, id)
    // The turn lasts until the last try has ended: a later leg of the entity waits behind these tries.
    await this.#inTurn.run(`${write.service} ${entity ?? key}`, () =>
      this.#send({ write, key, status, id, entity, deadline, position }),
    )
  }

  async #send(leg: DueLeg): Promise<void> {
    const { write, key, id, deadline } = leg
    const { service, method, target, body } = write
    const sourceLsn = await within(leg.position, this.#deadlineMs / 4).catch(() => null)
    const headers = [...write.headers, 'x-migrate-mode', 'dual-write', 'x-migrate-epoch', String(write.epoch)]
    if (sourceLsn !== null) headers.push('x-migrate-source-lsn', formatLsn(sourceLsn))
    if (id !== null) headers.push('x-migrate-id', id)
    const plain = this.#options.services.get(service)?.idempotent === false
    const end = await sendUntilAnswered({
      service,
      pool: this.#pools.get(service) as Pool,
      request: { key, method, target, headers, body, plain },
      deadline,
      least: this.#deadlineMs / 16,
      clock: this.#options.clock,
      onFailed: (error, attempts) => this.#records.note(key, { attempts, error, sourceLsn, givenUp: false }),
    })
    if (end !== null) this.#counters.sent++
    if (end !== null) this.#counters.retried += end.attempts - 1
    if (end?.kind === 'answered') return this.#judge(leg, end, sourceLsn)
    await this.#fail(leg, end, sourceLsn, plain)
  }

  async #judge(leg: DueLeg, end: LegEnd & { kind: 'answered' }, sourceLsn: Lsn | null): Promise<void> {
    const { write, key, status, id, entity } = leg
    const judged = judge({ ...end, id: write.idOf(end) }, { status, id })
    const doubted = entity !== null && this.#doubts.has(entity, this.#options.clock.now())
    const verdict = judged === 'different' && doubted ? 'undecided' : judged
    const progress = { attempts: end.attempts, error: null, sourceLsn, givenUp: true }
    this.#streaks.succeed(kindOf(write))
    this.#counters[COUNTERS[verdict]]++
    // For the sink to revoke, or already revoked by it.
    if (verdict === 'revoked') {
      this.#doubt(entity)
      return this.#records.note(key, progress)
    }
    await this.#records.settle(key, { state: 'answered', status: end.status, verdict }, progress)
    if (verdict === 'different') await this.#bury(leg, 'LEG_DIFFERENT', end.status, progress)
    if (verdict === 'id-not-kept') await this.#bury(leg, 'ID_NOT_KEPT', end.status, progress)
  }

  /** The intent stays open, for the sink to revoke: nobody knows whether the leg still runs. */
  async #fail(leg: DueLeg, end: LegEnd | null, sourceLsn: Lsn | null, plain: boolean): Promise<void> {
    const { write, key, entity } = leg
    this.#doubt(entity)
    const error = end?.kind === 'failed' ? end.why : 'its turn came after its deadline'
    const progress = { attempts: end?.attempts ?? 0, error, sourceLsn, givenUp: true }
    this.#counters.failed++
    this.#log(`${write.service}: a second leg failed after ${progress.attempts} tries: ${error}`)
    // The sink cannot revoke it, but it is not needed: no request has left.
    const never = end === null || (end.kind === 'failed' && !end.sent)
    if (plain && never) await this.#records.settle(key, { state: 'revoked' }, progress)
    else this.#records.note(key, progress)
    // One that was not even tried says nothing new about the service.
    if (end !== null && this.#streaks.fail(kindOf(write), this.#options.clock.now()))
      await this.#bury(leg, 'LEG_UNANSWERED', null, progress)
  }

  async #bury(leg: DueLeg, code: LetterCode, serviceStatus: number | null, progress: LegProgress): Promise<void> {
    const { write, key, status, entity } = leg
    const { service, method, route, epoch, body, target } = write
    const { attempts, error, sourceLsn } = progress
    const letter: DeadLetter = {
      ...{ key, service, method, route, epoch, entity, code, serviceStatus, attempts, error, sourceLsn },
      path: pathOf(target),
      monolithStatus: status,
      body: body?.subarray(0, KEPT_BODY) ?? null,
      bodyBytes: body?.length ?? 0,
    }
    await this.#records.bury(letter)
  }

  #doubt(entity: string | null): void {
    if (entity !== null) this.#doubts.note(entity, this.#options.clock.now())
  }

  #log(line: string): void {
    this.#options.log?.(line)
  }

  /** Keeps the promise until it has ended; it never rejects. */
  #track(leg: Promise<void>): Promise<void> {
    const ended = leg.catch((error: Error) => this.#log(`a second leg broke off: ${error.message}`))
    this.#running.add(ended)
    return ended.finally(() => this.#running.delete(ended))
  }
}

const COUNTERS: Readonly<Record<LegVerdict | AnswerVerdict, 'answered' | 'different' | 'revoked'>> = {
  equal: 'answered',
  different: 'different',
  undecided: 'different',
  'id-not-kept': 'different',
  revoked: 'revoked',
}

/** Longer than the sync needs for a change that it holds back. */
const DOUBT_MS = 5_000

const POOL = { allowH2: false, connections: 128, connectTimeout: 1_000 }

/** What legs are ordered by: the first two segments of the path, for a new row its collection and id; null = nothing. */
function entityOf(target: string, id: string | null): string | null {
  const [collection = '', own] = pathOf(target)
    .split('/')
    .filter((segment) => segment !== '')
  const row = own ?? id
  return row === null ? null : `/${collection}/${row}`
}

/** Legs that fail or succeed together. */
function kindOf({ service, method, route }: Write): string {
  return `${service} ${method} ${route}`
}

function pathOf(target: string): string {
  return target.split('?', 1)[0] as string
}
