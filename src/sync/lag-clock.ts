import type { Lsn } from '../model/lsn.ts'

/** More samples than this are thinned out: the lag of hours is not told to the second, but to a thousandth of itself. */
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
  /** samples that are nearer to each other are not kept, milliseconds */
  #spacing = 0

  /** The log ended there; `at` = before it was asked. */
  sample(at: number, lsn: Lsn): void {
    const sample = { at, lsn }
    const [before, last] = this.#samples.slice(-2)
    // the newest is kept in any case, until the next one comes
    if (before !== undefined && last !== undefined && last.at - before.at < this.#spacing) this.#samples.pop()
    this.#samples.push(sample)
    if (this.#samples.length > MOST) {
      this.#samples = this.#samples.filter((_, i) => i % 2 === 0)
      this.#spacing = (at - (this.#samples[0]?.at ?? at)) / (MOST / 2)
    }
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
    if (this.#samples.length < MOST / 4) this.#spacing = 0
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
