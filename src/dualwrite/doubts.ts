/**
 * Remembers for a while which entities had a leg that may not have been applied: until the sync has brought its rows,
 * the service's answers about them say nothing.
 */
export class Doubts {
  readonly #milliseconds: number
  readonly #until = new Map<string, number>()

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds
  }

  note(entity: string, now: number): void {
    // last again: the map stays in the order of its times
    this.#until.delete(entity)
    this.#until.set(entity, now + this.#milliseconds)
    for (const [old, until] of this.#until) {
      if (until > now) break
      this.#until.delete(old)
    }
  }

  has(entity: string, now: number): boolean {
    return (this.#until.get(entity) ?? 0) > now
  }
}
