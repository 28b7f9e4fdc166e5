import type { Relation, Transaction } from '../model/change.ts'
import { nameOf } from './family.ts'
import { type Pending, touchedKeys } from './queue.ts'

interface Known {
  readonly transaction: Transaction
  readonly names: readonly string[]
}

/** The rows that the transactions in a queue speak of, by name. Each transaction is looked at once, however often it is asked. */
export class WaitingKeys {
  readonly #keyColumns: (relation: Relation) => readonly number[]
  readonly #counts = new Map<string, number>()
  #known: Known[] = []

  constructor(keyColumns: (relation: Relation) => readonly number[]) {
    this.#keyColumns = keyColumns
  }

  /** Takes the queue as it is now: since the last call some may have left at its front, and others come at its end. */
  of(queue: readonly Pending[]): { has(name: string): boolean } {
    const first = queue[0]?.transaction
    const gone = this.#known.findIndex(({ transaction }) => transaction === first)
    for (const { names } of this.#known.splice(0, gone < 0 ? this.#known.length : gone)) {
      for (const name of names) this.#count(name, -1)
    }
    for (const { transaction } of queue.slice(this.#known.length)) {
      const names = touchedKeys([transaction], this.#keyColumns).map(nameOf)
      for (const name of names) this.#count(name, 1)
      this.#known.push({ transaction, names })
    }
    return this.#counts
  }

  #count(name: string, by: 1 | -1): void {
    const count = (this.#counts.get(name) ?? 0) + by
    if (count === 0) this.#counts.delete(name)
    else this.#counts.set(name, count)
  }
}
