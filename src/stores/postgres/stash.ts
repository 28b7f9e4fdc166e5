import { MigrateError } from '../../errors.ts'
import { type Relation, type Row, UNCHANGED } from '../../model/change.ts'
import { keyText } from '../../sync/converge.ts'
import type { RowWriter } from './row-writer.ts'

/**
 * Rows that have taken the key of another row, which has not given it up yet: where a key is checked at the end of the
 * transaction only, two rows may change places, and the target may check at once. Such a row waits in a temporary table.
 */
export class Stash {
  readonly #rows: RowWriter
  /** by relation and key */
  #waiting = new Map<string, Waiting>()

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
    this.#waiting.set(nameOf(relation, statements.keyOf(row)), { relation, row })
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

  /** A change of the row `old`. Throws KEY_AMBIGUOUS when that is the one that waits for this key. */
  throwIfWaiting(relation: Relation, key: Row, old: Row): void {
    const waiting = this.#waiting.get(nameOf(relation, key))
    if (waiting === undefined) return
    const isSame = waiting.row.every(
      (value, i) => value === UNCHANGED || keyText([value]) === keyText([old[i] ?? null]),
    )
    if (isSame) throw ambiguous(relation)
  }

  /** Throws KEY_AMBIGUOUS when a row has this key, or waits for it. */
  async throwIfTaken(relation: Relation, key: Row): Promise<void> {
    this.throwIfTwo(relation, key)
    if ((await this.#rows.run(this.#rows.of(relation).find(key))) > 0) throw ambiguous(relation)
  }

  /** Before a commit: a row that still waits would be lost. Throws KEY_AMBIGUOUS. */
  throwIfAny(): void {
    const [first] = this.#waiting.values()
    if (first !== undefined) throw ambiguous(first.relation)
  }
}

interface Waiting {
  readonly relation: Relation
  /** as it will be */
  readonly row: Row
}

export function ambiguous({ schema, name }: Relation): MigrateError {
  return new MigrateError('KEY_AMBIGUOUS', { table: `${schema}.${name}` })
}

function nameOf(relation: Relation, key: Row): string {
  return `${relation.id}:${keyText(key)}`
}
