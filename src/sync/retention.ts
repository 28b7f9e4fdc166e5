import type { Lsn } from '../model/lsn.ts'

/** What a slot keeps at one moment. */
export interface Retained {
  /** milliseconds of a monotonic clock */
  readonly at: number
  /** bytes of the log that the server keeps for it */
  readonly bytes: number
  /** what the target has confirmed, and the end of the log */
  readonly confirmed: Lsn
  readonly walEnd: Lsn
}

/** A target that comes no nearer for so long does not follow, milliseconds: longer than idle progress takes to be confirmed. */
const PATIENCE = 15_000
/** Far over the limit there is less time. */
const SHORT_PATIENCE = 3_000
const FAR = 1.5

/**
 * When a slot has to be given up: it keeps more than the limit, and its target does not follow. A target that catches
 * up is left alone, and so is one that has read everything while a long transaction of the source holds the log.
 */
export class Retention {
  #samples: Retained[] = []

  /** Takes what is measured now. True = give the slot up. */
  isBeyond(now: Retained, limit: number): boolean {
    this.#samples = [...this.#samples.filter(({ at }) => now.at - at <= 2 * PATIENCE), now]
    if (now.bytes <= limit || lag(now) <= limit / 2) return false
    const patience = now.bytes > limit * FAR ? SHORT_PATIENCE : PATIENCE
    const before = this.#samples.findLast(({ at }) => now.at - at >= patience)
    return before !== undefined && lag(now) >= lag(before)
  }
}

function lag({ confirmed, walEnd }: Retained): number {
  return Number(walEnd - confirmed)
}

/** What a slot may keep: a share of max_slot_wal_keep_size, or a number of bytes where that is unlimited (null). */
export function retentionLimit(cap: number | null, limits: { detachRatio: number; detachBytes: number }): number {
  return cap === null ? limits.detachBytes : cap * limits.detachRatio
}
