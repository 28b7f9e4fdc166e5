import type { Relation, Row, Transaction } from '../model/change.ts'
import type { Lsn } from '../model/lsn.ts'
import { isMove } from './converge.ts'
import { type InnerForeignKey, nameOf, parentsOf } from './family.ts'
import type { RowName } from './ports.ts'

/** What is asked of the monolith about rows that second legs have made. */
export interface ExtraRowsPorts {
  /** those that the monolith has no row for */
  lacking(rows: readonly RowName[]): Promise<readonly RowName[]>
  /** a position of the monolith's log behind everything committed so far; the forward stream is sure to pass it */
  position(): Promise<Lsn>
  foreignKeys(): Promise<readonly InnerForeignKey[]>
}

type KeyColumns = (relation: Relation) => readonly number[]

/** The names of the rows that waiting changes speak of. */
interface Waiting {
  has(name: string): boolean
}

/** A row that forward writes, or with an empty one deletes. */
export interface WrittenRow {
  readonly name: RowName
  readonly row: Row
}

interface MadeRow {
  readonly row: RowName
  readonly name: string
  readonly parents: readonly string[]
  /** commit of the service's transaction that made it */
  readonly of: Lsn
  /** everything that the monolith had committed when it was found to lack the row is before this */
  readonly after: Lsn
}

/**
 * Dual-write: rows that a second leg has made and the monolith lacks, such as children whose ids the service gives
 * itself. The reverse pipeline sees every row that the service writes and announces those that the monolith lacks; the
 * forward pipeline, whose checkpoint fences every write to the service, removes them: with the monolith's own rows of the
 * same parent, so that a reader never sees both, or else as soon as it has passed the place where they were found
 * lacking. The reverse pipeline does not pass a row before that: once it has seen a token, no extra row from before the
 * token is left.
 */
export class ExtraRows {
  readonly #ports: ExtraRowsPorts
  #made: MadeRow[] = []
  #news: () => void = () => undefined
  #settled: () => void = () => undefined

  constructor(ports: ExtraRowsPorts) {
    this.#ports = ports
  }

  /** Reverse starts (again) and will announce all that its checkpoint has not passed. `settled`: look at `isWaiting` again. */
  startReverse(settled: () => void): void {
    this.#made = []
    this.#settled = settled
  }

  /** Forward starts. `news`: there is something to remove. */
  startForward(news: () => void): void {
    this.#news = news
  }

  /** Reverse: looks which rows these transactions have made that the monolith lacks. */
  async announce(transactions: readonly Transaction[], keyColumns: KeyColumns): Promise<void> {
    const made = transactions.flatMap((transaction) => madeBy(transaction, keyColumns))
    // the monolith comes first: what it lacks now was deleted meanwhile, or was never there
    const lacking = made.length === 0 ? [] : await this.#ports.lacking(made.map(({ name }) => name))
    if (lacking.length === 0) return
    const [after, keys] = [await this.#ports.position(), await this.#ports.foreignKeys()]
    const names = new Set(lacking.map(nameOf))
    for (const { of, name: row, values } of made) {
      const name = nameOf(row)
      if (names.has(name)) this.#made.push({ row, name, parents: parentsOf(row.relation, values, keys), of, after })
    }
    this.#news()
  }

  /** Reverse: is a row of this transaction still to be removed? */
  isWaiting(commitLsn: Lsn): boolean {
    return this.#made.some(({ of }) => of === commitLsn)
  }

  /** Nothing is announced: nobody needs to ask. */
  get isEmpty(): boolean {
    return this.#made.length === 0
  }

  /**
   * Forward, about to write these rows (with their parents) and having received everything up to `received`: the extra
   * rows of the same parents. None of which `waiting` speaks: a delete of the monolith's may be among it.
   */
  async dueWith(written: readonly WrittenRow[], received: Lsn, waiting: () => Waiting): Promise<readonly RowName[]> {
    const keys = await this.#ports.foreignKeys()
    const family = new Set(
      written.flatMap(({ name, row }) => [
        nameOf(name),
        ...(row.length === 0 ? [] : parentsOf(name.relation, row, keys)),
      ]),
    )
    const ready = this.#made.filter(({ after }) => after <= received)
    const found = new Set<MadeRow>()
    // the children of an extra row go with it
    for (let size = -1; size < found.size; ) {
      size = found.size
      for (const made of ready) {
        if (!made.parents.some((parent) => family.has(parent))) continue
        found.add(made)
        family.add(made.name)
      }
    }
    return this.#stillLacking(notWaiting([...found], waiting))
  }

  /** Forward, having written everything up to `position`: all extra rows that were found before that. */
  dueAt(position: Lsn, waiting: () => Waiting): Promise<readonly RowName[]> {
    const found = this.#made.filter(({ after }) => after <= position)
    return this.#stillLacking(notWaiting(found, waiting))
  }

  /** Forward: these are gone. */
  removed(rows: readonly RowName[]): void {
    const names = new Set(rows.map(nameOf))
    this.#keep(({ name }) => !names.has(name))
  }

  /**
   * Forward, dropping what it reads at `position`: the service has the authority there, so its rows are no extra ones.
   * Not before that position: right after a rollback second legs run before forward has come to its start.
   */
  release(position: Lsn): void {
    this.#keep(({ after }) => after > position)
  }

  /** The monolith may have made the same row since; then it is no extra one. */
  async #stillLacking(rows: readonly MadeRow[]): Promise<readonly RowName[]> {
    if (rows.length === 0) return []
    const lacking = await this.#ports.lacking(rows.map(({ row }) => row))
    const names = new Set(lacking.map(nameOf))
    const found = new Set(rows.filter(({ name }) => !names.has(name)))
    this.#keep((made) => !found.has(made))
    return lacking
  }

  #keep(stays: (made: MadeRow) => boolean): void {
    const before = this.#made.length
    this.#made = this.#made.filter(stays)
    if (this.#made.length < before) this.#settled()
  }
}

function notWaiting(found: readonly MadeRow[], waiting: () => Waiting): readonly MadeRow[] {
  if (found.length === 0) return found
  const names = waiting()
  return found.filter(({ name }) => !names.has(name))
}

/** The rows that a transaction inserted, or gave a new key. */
function madeBy({ changes, commitLsn: of }: Transaction, keyColumns: KeyColumns) {
  return changes.flatMap((change) => {
    if (change.op === 'truncate' || change.op === 'delete') return []
    const { relation, row: values } = change
    const columns = keyColumns(relation)
    if (change.op === 'update' && !isMove(change, columns)) return []
    const name: RowName = { relation, key: columns.map((column) => values[column] ?? null) }
    return [{ of, name, values }]
  })
}
