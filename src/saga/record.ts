import type { ConnectionPool } from '../model/service-database.ts'
import { isTransient } from '../model/transient.ts'
import { retry } from '../retry.ts'
import { decide, type Decision } from './decide.ts'
import { checkedReply } from './checked-reply.ts'
import { type AnySaga, placed } from './definition.ts'
import type { Entry } from './entry.ts'
import { type Claimed, type Move, type Moved, reloadSaga, type SentCommand } from './journal.ts'
import { evolve, type SagaState, stateOf, stepOf } from './state.ts'

/** What all sagas of a process share. */
export interface Engine {
  readonly pool: ConnectionPool
  readonly worker: string
  /** milliseconds that a worker may be silent */
  readonly ttl: number
  /** when it aborts no further step begins */
  readonly draining: AbortSignal
  readonly commit: (move: Move) => Promise<Moved | null>
  readonly failpoint: ((name: string) => Promise<void>) | null
  /** the saga becomes due in so many milliseconds */
  readonly due: (after: number) => void
  /** others may wait for these */
  readonly freed: (targets: readonly string[]) => void
}

/** `again`: something else has happened to the saga, which is read anew. `lost`: it is another worker's, or nobody's. */
export type Written = 'done' | 'again' | 'lost'

/** A saga in memory: what the journal says, and what is to be written next. */
export class SagaRecord {
  readonly definition: AnySaga
  readonly #engine: Engine
  #saga: Claimed
  #state: SagaState
  #pending: Entry[] = []
  /** the clock of the database minus ours, which only measures how much time passes */
  #offset: number

  constructor(engine: Engine, definition: AnySaga, saga: Claimed) {
    this.#engine = engine
    this.definition = definition
    this.#saga = saga
    this.#state = stateOf(saga.rows)
    this.#offset = saga.now - performance.now()
  }

  get saga(): Claimed {
    return this.#saga
  }

  /** with what is not written yet */
  get state(): SagaState {
    return this.#state
  }

  /** of the database, milliseconds since 1970 */
  get now(): number {
    return performance.now() + this.#offset
  }

  get isClean(): boolean {
    return this.#pending.length === 0
  }

  next(underWay: ReadonlySet<string>): Decision {
    return decide(this.definition, this.#state, { now: this.now, deadline: this.#saga.deadline, underWay })
  }

  add(...entries: Entry[]): void {
    this.#pending.push(...entries)
    this.#state = evolve(this.#state, entries, this.now)
  }

  /** Checks what processes without the definition have taken from replies. */
  async checkReplies(): Promise<void> {
    for (const { step } of placed(this.definition)) {
      const { unchecked, result } = stepOf(this.#state, step.name).execute
      if (unchecked) this.add(await checkedReply(step, result))
    }
  }

  /** Takes back what was added since the last write. */
  undo(state: SagaState): void {
    this.#pending = []
    this.#state = state
  }

  /** What is to be written, as one commit. */
  move(release: Move['release'], messages: readonly SentCommand[]): Move {
    const { id, epoch, seq } = this.#saga
    const { status, failure } = this.#state
    const entries = this.#pending
    const step = entries.map(stepNamed).findLast((name) => name !== null) ?? null
    const unlocks = this.definition.locks !== null && (status === 'DONE' || status === 'COMPENSATED')
    return { id, epoch, seq, status, step, failure, release, entries: JSON.stringify(entries), messages, unlocks }
  }

  async commit(release: Move['release'], messages: readonly SentCommand[] = []): Promise<Written> {
    const { commit } = this.#engine
    const move = this.move(release, messages)
    const places = this.#pending.map(placeOf)
    await this.#failpoints('before', places)
    // the same again is harmless: it names the entry behind which it belongs
    const moved = await this.#patiently(() => commit(move))
    if (moved === null) return (await this.reload()) ? 'again' : 'lost'
    await this.#failpoints('after', places)
    this.committed(moved)
    return 'done'
  }

  /** What was to be written is written. */
  committed({ at, freed }: Moved): void {
    this.#saga = { ...this.#saga, seq: this.#saga.seq + 1 }
    this.#pending = []
    this.#offset = at - performance.now()
    if (freed !== null) this.#engine.freed(freed)
  }

  /**
   * Reads the saga anew, and keeps of what was to be written only what has become known of calls. False: this worker does
   * not have it any more.
   */
  async reload(): Promise<boolean> {
    const { pool, worker } = this.#engine
    const read = (): Promise<Claimed | null> => reloadSaga(pool, this.#saga, worker)
    const found = await this.#patiently(read)
    if (found === null) return false
    const unwritten = this.#pending
    this.#saga = found
    this.#pending = []
    this.#state = stateOf(found.rows)
    this.#offset = found.now - performance.now()
    for (const entry of unwritten) {
      if (entry.do !== 'done' && entry.do !== 'refused' && entry.do !== 'unknown') continue
      const direction = entry.do === 'refused' ? 'execute' : entry.direction
      if (stepOf(this.#state, entry.step)[direction].state === 'intent') this.add(entry)
    }
    return true
  }

  /** An outage is waited out, but not by a process that is about to end, whether it was told before or during it. */
  #patiently<T>(work: () => Promise<T>): Promise<T> {
    const { draining } = this.#engine
    let last = Number.POSITIVE_INFINITY
    const passes = (error: unknown): boolean => {
      if (draining.aborted) last = Math.min(last, performance.now() + LAST_TRIES)
      return isTransient(error) && performance.now() < last
    }
    return retry(work, { signal: NEVER, first: 50, slowest: 1_000, passes })
  }

  async #failpoints(when: 'before' | 'after', places: readonly string[]): Promise<void> {
    const { failpoint } = this.#engine
    if (failpoint === null) return
    for (const place of places) await failpoint(`saga.${when}-${place}`)
  }
}

/** Where the saga is by it: of several steps that were given up it is stuck at one, and orders are about that one. */
function stepNamed(entry: Entry): string | null {
  if (entry.do === 'stuck') return entry.failure.step
  return 'step' in entry ? entry.step : null
}

const NEVER = new AbortController().signal

/** Milliseconds for which a process that is to end goes on trying. */
const LAST_TRIES = 5_000

/** For tests of crashes: `intent-execute-STEP`, `done-compensate-STEP`, `refused-STEP`, `compensate`, `ended` … */
export function placeOf(entry: Entry): string {
  const direction = 'direction' in entry ? `-${entry.direction}` : ''
  const step = 'step' in entry && entry.step !== null ? `-${entry.step}` : ''
  return `${entry.do}${direction}${step}`
}
