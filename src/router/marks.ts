import type { Lsn } from '../model/lsn.ts'
import type { PolicySet } from '../model/policy.ts'
import { STAGE_RULES } from '../model/stage.ts'
import type { Counters } from './counters.ts'

/** The marks that one write has set. */
export type MarkedWrite = readonly Mark[]

/**
 * Which users and entities have written what the service may not have yet. A mark is pending from before the write is
 * sent until the WAL position after its answer is known. Bounded: beyond `limit` old marks are folded into one that
 * counts for everybody, so forgetting costs reads of the monolith, never a stale answer.
 */
export class Marks {
  readonly #limit: number
  readonly #counters: Pick<Counters, 'marksFolded'>
  readonly #marks = new Map<string, Mark>()
  readonly #everybody: Mark = { key: null, pending: 0, lsn: null }
  /** answered writes whose position could not be sampled */
  #unsampled: MarkedWrite[] = []

  constructor(limit: number, counters: Pick<Counters, 'marksFolded'>) {
    this.#limit = limit
    this.#counters = counters
  }

  get size(): number {
    return this.#marks.size
  }

  /** Marks the keys as being written; call it before the write is sent. */
  begin(keys: readonly string[]): MarkedWrite {
    return keys.map((key) => this.#add(key))
  }

  /** A mark on everything: what other instances, or this one before it started, may have written. */
  beginEverybody(): MarkedWrite {
    this.#everybody.pending++
    return [this.#everybody]
  }

  /** The write is answered and everything it did is below this position; null = not known, it stays pending. */
  end(write: MarkedWrite, position: Lsn | null): void {
    if (position === null) {
      if (write.length > 0) this.#unsampled.push(write)
      return
    }
    for (const mark of write) {
      mark.pending--
      mark.lsn = later(mark.lsn, position)
    }
  }

  /** The newest own write under any of these names. */
  newest(keys: readonly string[]): Lsn | 'pending' | null {
    let newest = this.#everybody.lsn
    if (this.#everybody.pending > 0) return 'pending'
    if (this.#marks.size === 0) return newest
    for (const key of keys) {
      const mark = this.#marks.get(key)
      if (mark === undefined) continue
      if (mark.pending > 0) return 'pending'
      if (mark.lsn !== null) newest = later(newest, mark.lsn)
    }
    return newest
  }

  /** Writes whose position is still to be sampled; the caller ends them again. */
  takeUnsampled(): MarkedWrite[] {
    const writes = this.#unsampled
    this.#unsampled = []
    return writes
  }

  /** Forgets the marks that every service has caught up with. */
  drop(applied: Lsn | 'nothing' | 'everything'): void {
    if (applied === 'nothing') return
    for (const [key, mark] of this.#marks) {
      if (mark.pending > 0) continue
      // Marks stand about in the order of their positions: the first one that is not reached ends the search.
      if (applied !== 'everything' && mark.lsn !== null && mark.lsn > applied) return
      this.#marks.delete(key)
    }
  }

  #add(key: string): Mark {
    const known = this.#marks.get(key)
    if (known !== undefined) this.#marks.delete(key)
    else if (this.#marks.size >= this.#limit && !this.#fold()) {
      this.#counters.marksFolded++
      this.#everybody.pending++
      return this.#everybody
    }
    const mark = known ?? { key, pending: 0, lsn: null }
    mark.pending++
    this.#marks.set(key, mark)
    return mark
  }

  /** Makes room by folding the oldest settled mark into everybody's; false when the oldest ones are all pending. */
  #fold(): boolean {
    let looked = 0
    for (const [key, mark] of this.#marks) {
      if (++looked > FOLD_SEARCH) return false
      if (mark.pending > 0) continue
      if (mark.lsn !== null) this.#everybody.lsn = later(this.#everybody.lsn, mark.lsn)
      this.#counters.marksFolded++
      this.#marks.delete(key)
      return true
    }
    return false
  }
}

/** The position that every service which reads are, or may soon be, split for has applied. */
export function appliedEverywhere(policies: PolicySet): Lsn | 'nothing' | 'everything' {
  let lowest: Lsn | 'everything' = 'everything'
  for (const { stage, applied } of policies.services.values()) {
    if (stage === 'off' || STAGE_RULES[stage].authority === 'service') continue
    if (applied === null) return 'nothing'
    if (lowest === 'everything' || applied < lowest) lowest = applied
  }
  return lowest
}

interface Mark {
  readonly key: string | null
  /** writes under way */
  pending: number
  /** position below which all answered writes are */
  lsn: Lsn | null
}

const FOLD_SEARCH = 64

function later(one: Lsn | null, other: Lsn): Lsn {
  return one === null || other > one ? other : one
}
