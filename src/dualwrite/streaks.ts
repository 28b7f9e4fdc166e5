/** Counts legs of one kind that fail one after the other, to tell a person once and not for each of them. */
export class Streaks {
  readonly #length: number
  readonly #failed = new Map<string, number>()

  /** A streak of so many counts. */
  constructor(length: number) {
    this.#length = length
  }

  /** True for the one failure with which the streak is complete; the next one begins after a success. */
  fail(kind: string): boolean {
    const failed = (this.#failed.get(kind) ?? 0) + 1
    this.#failed.set(kind, failed)
    return failed === this.#length
  }

  succeed(kind: string): void {
    this.#failed.delete(kind)
  }
}
