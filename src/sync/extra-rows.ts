import type { Relation, Row, Transaction } from '../model/change.ts'
import type { Lsn } from '../model/lsn.ts'
import { isMove, keyText } from './converge.ts'
import type { RowName } from './ports.ts'
import { touchedKeys } from './queue.ts'

/** What is asked of the monolith about rows that second legs have made. */
export interface ExtraRowsPorts {
  /** those that the monolith has no row for */
  lacking(rows: readonly RowName[]): Promise<readonly RowName[]>
  /** a position of the monolith's log behind everything committed so far; the forward stream is sure to pass it */
  position(): Promise<Lsn>
}

interface Entry {
  rows: readonly RowName[]
  /** the forward pipeline must have written everything up to here: a delete of the monolith's may still be held */
  readonly after: Lsn
  readonly done: () => void
}

/**
 * Dual-write: rows that a second leg has made and the monolith lacks, such as children whose ids the service gives
 * itself. The reverse pipeline sees every row that the service writes and names those that the monolith lacks; the
 * forward pipeline, whose checkpoint fences every write to the service, removes them between two batches. The reverse
 * pipeline does not pass a row before that: once it has seen a token, no extra row from before the token is left.
 */
export class ExtraRows {
  readonly #ports: ExtraRowsPorts
  #entries: Entry[] = []
  #news: () => void = () => undefined

  constructor(ports: ExtraRowsPorts) {
    this.#ports = ports
  }

  /** Reverse: resolves when each row that these transactions made is known to be the monolith's too, or removed. */
  async settle(
    made: readonly Transaction[],
    keyColumns: (relation: Relation) => readonly number[],
    signal: AbortSignal,
  ): Promise<void> {
    const rows = madeRows(made, keyColumns)
    // the monolith comes first: what it lacks now was deleted meanwhile, or was never there
    const lacking = rows.length === 0 ? [] : await this.#ports.lacking(rows)
    if (lacking.length === 0) return
    const after = await this.#ports.position()
    await new Promise<void>((resolve) => {
      const entry = { rows: lacking, after, done: resolve }
      this.#entries.push(entry)
      signal.addEventListener('abort', () => this.#leave(entry), { once: true })
      if (signal.aborted) this.#leave(entry)
      this.#news()
    })
  }

  /** Forward: calls back when there may be something to remove. */
  onNews(news: () => void): void {
    this.#news = news
  }

  /**
   * Forward, standing at `position` with `waiting` still to be written: hands the rows that the monolith still lacks to
   * `remove`, which resolves to false when nothing could be written now. Rows that a waiting change speaks of stay.
   */
  async removeDue(
    position: Lsn,
    waiting: () => readonly RowName[],
    remove: (rows: readonly RowName[]) => Promise<boolean>,
  ): Promise<void> {
    const due = this.#entries.filter(({ after }) => after <= position)
    if (due.length === 0) return
    const busy = new Set(waiting().map(nameOf))
    for (const entry of due) {
      const free = entry.rows.filter((row) => !busy.has(nameOf(row)))
      const lacking = free.length === 0 ? [] : await this.#ports.lacking(free)
      if (lacking.length > 0 && !(await remove(lacking))) return
      entry.rows = entry.rows.filter((row) => busy.has(nameOf(row)))
      if (entry.rows.length === 0) this.#leave(entry)
    }
  }

  /** Forward no longer writes: a cutover has compared all rows before that, so nothing is left to remove. */
  release(): void {
    for (const entry of [...this.#entries]) this.#leave(entry)
  }

  #leave(entry: Entry): void {
    this.#entries = this.#entries.filter((other) => other !== entry)
    entry.done()
  }
}

/** The rows that these transactions inserted, or gave a new key. */
function madeRows(transactions: readonly Transaction[], keyColumns: (relation: Relation) => readonly number[]) {
  const made = transactions.map((transaction) => ({
    ...transaction,
    changes: transaction.changes
      .filter(
        (change) => change.op === 'insert' || (change.op === 'update' && isMove(change, keyColumns(change.relation))),
      )
      // of a move only the new key: the old one is a row that is gone
      .map((change) => (change.op === 'update' ? { ...change, old: null } : change)),
  }))
  return [...new Map(touchedKeys(made, keyColumns).map((row) => [nameOf(row), row])).values()]
}

/** Equal for equal rows, whichever side's stream has named them. */
function nameOf({ relation, key }: { readonly relation: Relation; readonly key: Row }): string {
  return `${relation.schema}.${relation.name}:${keyText(key)}`
}
