import { finished } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { MigrateError } from '../../errors.ts'
import type { Change, Relation } from '../../model/change.ts'
import type { TableInfo } from './catalogue.ts'
import { quoteTable } from './identifier.ts'
import { Stash } from './stash.ts'
import { Compactor } from '../../sync/compact.ts'
import { CopyRows } from './copy-rows.ts'
import { type RowStatement, RowStatements } from './row-statements.ts'
import type { Stage } from './stage.ts'

export interface RowWriterOptions {
  readonly service: string
  /** of the target, for messages */
  readonly role: string
  readonly tables: readonly TableInfo[]
}

const RENEW_MS = 3_600_000
/** Each commit empties all temporary tables of the session, used or not. */
const MOST_STAGES = 100

/** Runs statements about rows in the transaction that is open on the client. */
export class RowWriter {
  readonly client: pg.Client
  readonly stash = new Stash(this)
  readonly compactor = new Compactor(
    (relation) => this.of(relation).keyColumns,
    (relation) => !this.of(relation).hasOwnColumns,
  )
  readonly #spare: Buffer[] = []
  readonly #options: RowWriterOptions
  readonly #statements = new Map<Relation, RowStatements>()
  readonly #created = new Set<Stage>()
  #renewedAt = performance.now()
  /** used in this transaction: emptied by its end only */
  readonly #filled = new Set<Stage>()

  constructor(client: pg.Client, options: RowWriterOptions) {
    this.client = client
    this.#options = options
  }

  /** Throws TARGET_SCHEMA when the target has no table that fits. */
  of(relation: Relation): RowStatements {
    let found = this.#statements.get(relation)
    if (found === undefined) {
      const { tables, service } = this.#options
      const table = tables.find((t) => t.schema === relation.schema && t.name === relation.name)
      if (table === undefined) {
        const name = `${relation.schema}.${relation.name}`
        throw new MigrateError('TARGET_SCHEMA', { table: name, service, difference: 'it is not there' })
      }
      found = new RowStatements(relation, table, service, `s${this.#statements.size}`)
      this.#statements.set(relation, found)
    }
    return found
  }

  /** How many rows the statement has changed, or found. */
  async run(statement: RowStatement): Promise<number> {
    const { name, text, values } = statement
    const { rowCount } = await this.client.query({ name, text, values: [...values] })
    return rowCount ?? 0
  }

  /** For rows in the binary format of COPY. */
  newRows(): CopyRows {
    return new CopyRows(this.#spare)
  }

  /** How many rows of the table these rows have changed. */
  async runStage(stage: Stage, copied: CopyRows): Promise<number> {
    if (!this.#created.has(stage)) await this.client.query(stage.create)
    this.#created.add(stage)
    if (this.#filled.has(stage)) await this.client.query(stage.empty)
    this.#filled.add(stage)
    await this.copy(stage.copy, copied)
    const { rowCount } = await this.client.query({ name: stage.name, text: stage.apply })
    return rowCount ?? 0
  }

  /**
   * A transaction is about to begin. Nobody can vacuum another session's temporary tables, and a database's oldest
   * transaction number cannot move on beyond them: they are made anew every hour.
   */
  async begin(): Promise<void> {
    const now = performance.now()
    if (now - this.#renewedAt > RENEW_MS || this.#created.size > MOST_STAGES) {
      await this.client.query('discard temp')
      this.#created.clear()
      this.#renewedAt = now
    }
    this.#filled.clear()
    this.stash.clear()
  }

  /** The transaction, or its end since a savepoint, was rolled back: what it has created is gone. */
  rolledBack(): void {
    this.#created.clear()
  }

  async copy(statement: string, copied: CopyRows): Promise<void> {
    const into = this.client.query(copyFrom(statement))
    for (const chunk of copied.end()) into.write(chunk)
    into.end()
    await finished(into)
    copied.release()
  }

  async truncate({ relations, restartIdentity }: Extract<Change, { op: 'truncate' }>): Promise<void> {
    const tables = relations.map((relation) => quoteTable(relation)).join(', ')
    await this.client.query(`truncate ${tables}${restartIdentity ? ' restart identity' : ''}`)
  }

  missing(relation: Relation): MigrateError {
    return new MigrateError('ROW_MISSING', { table: `${relation.schema}.${relation.name}`, role: this.#options.role })
  }
}
