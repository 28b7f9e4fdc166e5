import { MigrateError } from '../../errors.ts'
import type { Relation, Row } from '../../model/change.ts'
import { keyText } from '../../sync/converge.ts'
import type { RowWriter } from './row-writer.ts'

/**
 * Rows that have taken the key of another row, which has not given it up yet: where a key is checked at the end of the
 * transaction only, two rows may change places, and the target may check at once. Such a row waits in a temporary table.
 */
export class Stash {
  readonly #rows: RowWriter
  /** the relation, by relation and key */
  #waiting = new Map<string, Relation>()

  constructor(rows: RowWriter) {
    this.#rows = rows
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** For a savepoint: what waits now. */
  save(): () => void {
    const waiting = new Map(this.#waiting)
    return () => {
      this.#waiting = waiting
    }
  }

  clear(): void {
    this.#waiting.clear()
  }

  /** Takes the row with this key away; it waits for its new one. False: there is no such row. */
  async put(relation: Relation, key: Row, row: Row): Promise<boolean> {
    const statements = this.#rows.of(relation)
    await this.#rows.client.query(statements.stash)
    if ((await this.#rows.run(statements.moveToStash(key, row))) === 0) return false
    this.#waiting.set(nameOf(relation, statements.keyOf(row)), relation)
    return true
  }

  /** The key is free: puts the row there that waits for it. */
  async freed(relation: Relation, key: Row): Promise<void> {
    if (!this.#waiting.delete(nameOf(relation, key))) return
    await this.#rows.run(this.#rows.of(relation).unstash(key))
  }

  /** Throws KEY_AMBIGUOUS when two rows have this key now: a change could be of either. */
  throwIfTwo(relation: Relation, key: Row): void {
    if (!this.#waiting.has(nameOf(relation, key))) return
    throw ambiguous(relation)
  }

  /** Before a commit: a row that still waits would be lost. Throws KEY_AMBIGUOUS. */
  throwIfWaiting(): void {
    const [first] = this.#waiting.values()
    if (first !== undefined) throw ambiguous(first)
  }
}

function ambiguous({ schema, name }: Relation): MigrateError {
  return new MigrateError('KEY_AMBIGUOUS', { table: `${schema}.${name}` })
}

function nameOf(relation: Relation, key: Row): string {
  return `${relation.id}:${keyText(key)}`
}
