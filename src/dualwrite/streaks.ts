/**
 * Counts legs of one kind that fail one after the other, to tell a person once of an outage and not for each leg of it,
 * and not at all when a service is restarted.
 */
export class Streaks {
  readonly #length: number
  readonly #milliseconds: number
  readonly #failing = new Map<string, { failed: number; readonly since: number; told: boolean }>()

  /** A streak is so many failures over so long a time at least. */
  constructor(length: number, milliseconds: number) {
    this.#length = length
    this.#milliseconds = milliseconds
  }

  /** True for the one failure with which the streak is complete; the next one begins after a success. */
  fail(kind: string, now: number): boolean {
    const streak = this.#failing.get(kind) ?? { failed: 0, since: now, told: false }
    this.#failing.set(kind, streak)
    streak.failed++
    const complete = !streak.told && streak.failed >= this.#length && now - streak.since >= this.#milliseconds
    streak.told ||= complete
    return complete
  }

  succeed(kind: string): void {
    this.#failing.delete(kind)
  }
}
