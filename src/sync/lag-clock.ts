import type { Lsn } from '../model/lsn.ts'

/** More samples than this are thinned out: an hour of lag is not told to the second. */
const MOST = 2_048
/** The growth of the log is measured over so long, milliseconds, and told from so long on. */
const RATE_OVER = 60_000
const RATE_FROM = 4_000

interface Sample {
  readonly at: number
  readonly lsn: Lsn
}

/**
 * Lag as time, by this process's own clock: what the source's log ended with at some moment, and when the target had it.
 * Works without commits, so an idle source shows no lag and a hung one does. Times in milliseconds of a monotonic clock.
 */
export class LagClock {
  #samples: Sample[] = []
  #recent: Sample[] = []

  /** The log ended there; `at` = before it was asked. */
  sample(at: number, lsn: Lsn): void {
    const sample = { at, lsn }
    this.#samples.push(sample)
    if (this.#samples.length > MOST) this.#samples = this.#samples.filter((_, i) => i % 2 === 0 || i > MOST - 16)
    this.#recent = [...this.#recent.filter((one) => at - one.at <= RATE_OVER), sample]
  }

  /** What an earlier worker has left: the log ended there at that time. Counts until something is known that is newer. */
  begin(at: number, lsn: Lsn): void {
    if (this.#samples.every((sample) => sample.lsn > lsn)) this.#samples.unshift({ at, lsn })
  }

  /** Everything that was committed so many seconds ago is at or before `applied`; null = that cannot be said yet. */
  lagSeconds(now: number, applied: Lsn): number | null {
    const index = this.#samples.findLastIndex(({ lsn }) => lsn <= applied)
    const reached = this.#samples[index]
    if (reached === undefined) return null
    this.#samples = this.#samples.slice(index)
    return Math.max(0, now - reached.at) / 1_000
  }

  /** Bytes a second; null = not known yet. */
  get walRate(): number | null {
    const [first, last] = [this.#recent[0], this.#recent.at(-1)]
    if (first === undefined || last === undefined || last.at - first.at < RATE_FROM) return null
    return Number(last.lsn - first.lsn) / ((last.at - first.at) / 1_000)
  }

  get walEnd(): Lsn | null {
    return this.#recent.at(-1)?.lsn ?? null
  }
}
