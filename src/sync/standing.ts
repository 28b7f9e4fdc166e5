import { MigrateError } from '../errors.ts'
import { asLsn, type Lsn } from '../model/lsn.ts'
import { keyName, type Skipped } from './converge.ts'
import type { Checkpoint, RowWrite } from './ports.ts'

/** A row that a held-back update did not find may still be on its way for so long, milliseconds. */
const LONGEST_OWED = 10_000

/** Where a pipeline stands: what is durable in the target, and which keys are behind that. */
export class Standing {
  checkpoint: Checkpoint
  /** the checkpoint row has changed, or may have: read it before the next write */
  stale = false
  skipped: Skipped = new Map()
  /** up to here what was written is durable in the target; the checkpoint may be ahead of it for a moment */
  durable: Lsn
  /** when that was so last */
  durableSince = performance.now()
  readonly #missing = new Map<string, RowWrite>()

  constructor(checkpoint: Checkpoint) {
    this.checkpoint = checkpoint
    this.durable = checkpoint.commitLsn
  }

  /** The target has everything up to here; `durable`: and keeps it, with all that was written before. */
  advance(commitLsn: Lsn, durable: boolean, change: Partial<Checkpoint> = {}): void {
    this.checkpoint = { ...this.checkpoint, ...change, commitLsn }
    if (durable) this.flushed(commitLsn)
  }

  /** Something was written that may not be durable. */
  get isBehind(): boolean {
    return this.durable < this.checkpoint.commitLsn
  }

  /** Everything up to here is durable. */
  flushed(commitLsn: Lsn): void {
    if (commitLsn < this.durable) return
    this.durable = commitLsn
    this.durableSince = performance.now()
  }

  /** Notes which keys a batch has left behind: those left out, and those whose row was not there. */
  settle(skipped: Skipped, missing: readonly RowWrite[], first: Lsn): void {
    const owed = new Map(skipped)
    for (const [key] of this.#missing) if (!skipped.has(key)) this.#missing.delete(key)
    for (const write of missing) {
      const key = keyName(write)
      owed.set(key, this.skipped.get(key) ?? { since: performance.now(), lsn: first })
      this.#missing.set(key, write)
    }
    this.skipped = owed
  }

  /**
   * Throws ROW_MISSING when a row has not turned up. A second leg may delete a row before the updates of it that are
   * held back are applied; then the delete comes within a grace.
   */
  throwIfMissing(role: string): void {
    for (const [key, { relation }] of this.#missing) {
      const since = this.skipped.get(key)?.since ?? Number.POSITIVE_INFINITY
      if (performance.now() - since > LONGEST_OWED) {
        throw new MigrateError('ROW_MISSING', { table: `${relation.schema}.${relation.name}`, role })
      }
    }
  }

  /** Up to here everything is durable, for readers of the target: keys that are behind hold it back. */
  appliedOf(durable: Lsn): Lsn {
    let applied = durable
    for (const { lsn } of this.skipped.values()) {
      if (lsn <= applied) applied = asLsn(lsn - 1n)
    }
    return applied
  }
}
