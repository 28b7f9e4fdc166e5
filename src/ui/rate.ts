/** Items a second, smoothed over some ten seconds; the first measure counts as it is. */
export class Rate {
  #value: number | null = null
  #at: number
  #count: number

  constructor(at: number, count = 0) {
    this.#at = at
    this.#count = count
  }

  /** `at` in milliseconds, `count` the items so far. */
  measure(at: number, count: number): void {
    const seconds = (at - this.#at) / 1_000
    if (seconds < 0.2) return
    const now = Math.max(0, count - this.#count) / seconds
    const weight = 1 - Math.exp(-seconds / SMOOTHING_S)
    this.#value = this.#value === null ? now : this.#value + weight * (now - this.#value)
    this.#at = at
    this.#count = count
  }

  get perSecond(): number | null {
    return this.#value
  }

  /** Seconds until so many more are done; null = cannot be said. */
  secondsFor(left: number): number | null {
    return this.#value === null || this.#value <= 0 ? null : left / this.#value
  }
}

const SMOOTHING_S = 10
