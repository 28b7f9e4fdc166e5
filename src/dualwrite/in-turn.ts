/** Runs the tasks of one name one at a time, in the order of the calls; tasks of different names do not wait. */
export class InTurn {
  readonly #last = new Map<string, Promise<void>>()

  run(name: string, task: () => Promise<void>): Promise<void> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const turn = before.then(task)
    // A task that failed must not stop the ones behind it; its own caller hears of the failure.
    const ended: Promise<void> = turn.then(
      () => this.#leave(name, ended),
      () => this.#leave(name, ended),
    )
    this.#last.set(name, ended)
    return turn
  }

  #leave(name: string, ended: Promise<void>): void {
    if (this.#last.get(name) === ended) this.#last.delete(name)
  }
}
