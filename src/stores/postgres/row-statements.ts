import { MigrateError } from '../../errors.ts'
import { type Relation, type Row, TextValue, UNCHANGED, type Value } from '../../model/change.ts'
import type { ColumnInfo, TableInfo } from './catalogue.ts'
import { quote, quoteLiteral, quoteTable } from './identifier.ts'
import type { Stage } from './stage.ts'

/** A statement with its parameters: buffers go over the wire in PostgreSQL's binary form, untouched. */
export interface RowStatement {
  readonly name: string
  readonly text: string
  readonly values: readonly (Buffer | string | null)[]
}

/** Builds the statements for the rows of one relation of the stream against the table of the target. */
export class RowStatements {
  readonly keyColumns: readonly number[]
  readonly #relation: Relation
  readonly #table: TableInfo
  readonly #columns: readonly ColumnInfo[]
  readonly #prefix: string
  readonly #service: string
  /** columns that take a value when the row is inserted and never again: "generated always as identity" */
  readonly #fixed: readonly number[]
  readonly #stages = new Map<string, Stage>()
  readonly #made = new Map<string, { readonly name: string; readonly text: string }>()

  /** Throws TARGET_SCHEMA when the target has no such column or no usable key. */
  constructor(relation: Relation, table: TableInfo, service: string, prefix: string) {
    const differs = (difference: string): MigrateError =>
      new MigrateError('TARGET_SCHEMA', { table: `${table.schema}.${table.name}`, service, difference })
    this.#relation = relation
    this.#table = table
    this.#prefix = prefix
    this.#service = service
    this.#columns = relation.columns.map(({ name }) => {
      const column = table.columns.find((c) => c.name === name)
      if (column === undefined) throw differs(`column ${name} is missing`)
      return column
    })
    this.keyColumns = table.primaryKey.map((name) => relation.columns.findIndex((column) => column.name === name))
    const usable = this.keyColumns.length > 0 && this.keyColumns.every((i) => relation.columns[i]?.key === true)
    if (!usable) throw differs('its primary key is not part of the replica identity of the source')
    this.#fixed = this.#columns.flatMap(({ identity }, i) => (identity === 'a' ? [i] : []))
  }

  /** Is there a column, besides the key, whose value cannot be updated? */
  get hasFixedValues(): boolean {
    return this.#fixed.some((i) => !this.keyColumns.includes(i))
  }

  /** Has the target's table columns that the stream does not carry, other than generated ones? */
  get hasOwnColumns(): boolean {
    return this.#table.columns.filter(({ generated }) => generated === '').length > this.#columns.length
  }

  keyOf(row: Row): Row {
    return this.keyColumns.map((column) => row[column] ?? null)
  }

  insert(row: Row): RowStatement {
    const used = sent(row)
    return this.#statement('insert', used, parameters(row, used), () => this.#insertText(used))
  }

  /** Insert or overwrite; touches a row only when something in it is different, to the last bit. */
  upsert(row: Row): RowStatement {
    const used = sent(row)
    return this.#statement('upsert', used, parameters(row, used), () => {
      const rest = used.filter((i) => !this.keyColumns.includes(i) && !this.#fixed.includes(i))
      const conflict = `${this.#insertText(used)} on conflict (${this.#list(this.keyColumns)}) do`
      if (rest.length === 0) return `${conflict} nothing`
      const set = rest.map((i) => `${this.#name(i)} = excluded.${this.#name(i)}`).join(', ')
      const side = (name: string): string => `row(${rest.map((i) => `${name}.${this.#name(i)}`).join(', ')})::record`
      return `${conflict} update set ${set} where ${side(quoteTable(this.#table))} *<> ${side('excluded')}`
    })
  }

  /** Deletes the row with this key whose fixed values are others; null when the table has none. */
  outdated(row: Row): RowStatement | null {
    if (!this.hasFixedValues) return null
    return this.#statement('outdated', [], parameters(row, [...this.keyColumns, ...this.#fixed]), () => {
      const fixed = this.#fixed.map((i, n) => `${this.#name(i)} = $${this.keyColumns.length + n + 1}`).join(' and ')
      return `delete from ${quoteTable(this.#table)} where ${this.#where(0)} and not (${fixed})`
    })
  }

  /** Sets the columns that were sent, in a row with the same fixed values; null when that takes a new row. */
  update(key: Row, row: Row): RowStatement | null {
    const set = sent(row).filter((i) => !this.#fixed.includes(i))
    const newKey = this.keyColumns.some((i, n) => this.#fixed.includes(i) && !same(key[n], row[i]))
    if (set.length === 0 || newKey) return null
    const rest = this.#fixed.filter((i) => !this.keyColumns.includes(i))
    const values = [...parameters(row, set), ...key.map(parameter), ...parameters(row, rest)]
    return this.#statement('update', set, values, () => {
      const fixed = rest.map((i, n) => ` and ${this.#name(i)} = $${set.length + key.length + n + 1}`).join('')
      return `update ${quoteTable(this.#table)} set ${this.#assign(set)} where ${this.#where(set.length)}${fixed}`
    })
  }

  /** As update, of a row that keeps its key and only when something is different; null when nothing was sent. */
  repair(key: Row, row: Row): RowStatement | null {
    const set = sent(row).filter((i) => !this.#fixed.includes(i) && !this.keyColumns.includes(i))
    if (set.length === 0) return null
    return this.#statement('repair', set, [...parameters(row, set), ...key.map(parameter)], () => {
      const news = set.map((i, n) => `$${n + 1}::${this.#type(i)}`).join(', ')
      return `update ${quoteTable(this.#table)} set ${this.#assign(set)}
        where ${this.#where(set.length)} and row(${this.#list(set)})::record *<> row(${news})::record`
    })
  }

  /** Replaces the row with this key by one with the values sent and, for the rest, its own. */
  move(key: Row, row: Row): RowStatement {
    return this.#moved('move', key, row, quoteTable(this.#table))
  }

  #moved(kind: string, key: Row, row: Row, into: string): RowStatement {
    const used = sent(row)
    return this.#statement(kind, used, [...parameters(row, used), ...key.map(parameter)], () => {
      const kept = row.flatMap((value, i) => (value === UNCHANGED ? [i] : []))
      const news = used.map((i, n) => `$${n + 1}::${this.#type(i)}`)
      return `with old as (delete from ${quoteTable(this.#table)} where ${this.#where(used.length)}
          returning ${kept.length === 0 ? 'true' : this.#list(kept)})
        insert into ${into} (${this.#list([...used, ...kept])}) overriding system value
        select ${[...news, ...kept.map((i) => `old.${this.#name(i)}`)].join(', ')} from old`
    })
  }

  /** Creates the table for rows that wait for their key. */
  get stash(): string {
    return `create temporary table if not exists ${this.#stashName} on commit delete rows as
      select ${this.#list(this.#columns.keys())} from ${quoteTable(this.#table)} with no data`
  }

  /** As `move`, out of the table into the stash. */
  moveToStash(key: Row, row: Row): RowStatement {
    return this.#moved('stash', key, row, this.#stashName)
  }

  /** The row that waits for this key, into the table. */
  unstash(key: Row): RowStatement {
    return this.#statement('unstash', [], key.map(parameter), () => {
      const columns = this.#list(this.#columns.keys())
      return `with back as (delete from ${this.#stashName} where ${this.#where(0)} returning ${columns})
        insert into ${quoteTable(this.#table)} (${columns}) overriding system value select ${columns} from back`
    })
  }

  get #stashName(): string {
    return `pg_temp.${quote(`migrate_stash_${this.#prefix}`)}`
  }

  delete(key: Row): RowStatement {
    return this.#statement(
      'delete',
      [],
      key.map(parameter),
      () => `delete from ${quoteTable(this.#table)} where ${this.#where(0)}`,
    )
  }

  /** Deletes a row that the source lacks, and keeps it in migrate.undo. */
  extra(key: Row): RowStatement {
    return this.#statement('extra', [], key.map(parameter), () => this.#undone('extra', this.#where(0)))
  }

  /** `besides`: another row than the one with this key. */
  find(key: Row, besides: Row = []): RowStatement {
    const not = besides.length === 0 ? '' : ` and not (${this.#where(key.length)})`
    const text = (): string => `select from ${quoteTable(this.#table)} where ${this.#where(0)}${not}`
    return this.#statement(`find${besides.length}`, [], [...key, ...besides].map(parameter), text)
  }

  /** Deletes another row with the same values in these columns, and keeps it; null when they are not known. */
  rival(names: readonly string[], row: Row): RowStatement | null {
    const unique = names.map((name) => this.#relation.columns.findIndex((column) => column.name === name))
    if (unique.length === 0 || unique.some((i) => (row[i] ?? UNCHANGED) === UNCHANGED)) return null
    return this.#statement('rival', unique, parameters(row, [...this.keyColumns, ...unique]), () => {
      const equal = unique.map((i, n) => `${this.#name(i)} = $${this.keyColumns.length + n + 1}`).join(' and ')
      return this.#undone('service_extra', `not (${this.#where(0)}) and ${equal}`)
    })
  }

  /** Takes rows in the binary format of COPY, all columns in the relation's order. */
  get copy(): string {
    return `copy ${quoteTable(this.#table)} (${this.#list(this.#columns.keys())}) from stdin (format binary)`
  }

  /**
   * A temporary table for many rows, and the statement that carries them over: `update` of the rows with the same key,
   * without the columns that were not sent, or `delete` of them. It changes fewer rows than it was given when some are
   * not there, or would need a new row for their fixed values.
   */
  stage(op: 'update' | 'delete', unchanged: readonly number[]): Stage {
    const shape = `${op} ${unchanged.join(' ')}`
    let stage = this.#stages.get(shape)
    if (stage === undefined) {
      stage = this.#makeStage(op, unchanged)
      this.#stages.set(shape, stage)
    }
    return stage
  }

  #makeStage(op: 'update' | 'delete', unchanged: readonly number[]): Stage {
    const all = [...this.#columns.keys()]
    const used = op === 'delete' ? this.keyColumns : all.filter((i) => !unchanged.includes(i))
    const name = `pg_temp.${quote(`migrate_stage_${this.#prefix}_${this.#stages.size}`)}`
    const table = quoteTable(this.#table)
    const same = (i: number): string => `t.${this.#name(i)} = s.${this.#name(i)}`
    const fixed = op === 'delete' ? [] : this.#fixed.filter((i) => !this.keyColumns.includes(i) && used.includes(i))
    const where = [...this.keyColumns, ...fixed].map(same).join(' and ')
    const set = used.filter((i) => !this.keyColumns.includes(i) && !this.#fixed.includes(i))
    const values = set.map((i) => `${this.#name(i)} = s.${this.#name(i)}`).join(', ')
    const update =
      set.length === 0 ? `select from ${table} t, ${name} s` : `update ${table} t set ${values} from ${name} s`
    return {
      create: `create temporary table if not exists ${name} on commit delete rows as
        select ${this.#list(used)} from ${table} with no data`,
      empty: `truncate ${name}`,
      copy: `copy ${name} (${this.#list(used)}) from stdin (format binary)`,
      apply: `${op === 'delete' ? `delete from ${table} t using ${name} s` : update} where ${where}`,
      name: `${this.#prefix}_stage_${this.#stages.size}`,
    }
  }

  #undone(reason: string, where: string): string {
    const table = quoteTable(this.#table)
    return `with gone as (delete from ${table} as t where ${where} returning to_jsonb(t) as row)
      insert into migrate.undo (service, relation, reason, row)
      select ${quoteLiteral(this.#service)}, ${quoteLiteral(`${this.#table.schema}.${this.#table.name}`)}, '${reason}', row
      from gone`
  }

  /** One prepared statement for each kind and set of columns; PostgreSQL and its driver want short names. */
  #statement(
    kind: string,
    columns: readonly number[],
    values: RowStatement['values'],
    text: () => string,
  ): RowStatement {
    const shape = `${kind} ${columns.join(' ')}`
    let made = this.#made.get(shape)
    if (made === undefined) {
      made = { name: `${this.#prefix}_${kind}_${this.#made.size}`, text: text() }
      this.#made.set(shape, made)
    }
    return { ...made, values }
  }

  #insertText(used: readonly number[]): string {
    const values = used.map((_, n) => `$${n + 1}`).join(', ')
    // without it a "generated always" identity refuses the source's value
    const overriding = this.#fixed.length > 0 ? ' overriding system value' : ''
    return `insert into ${quoteTable(this.#table)} (${this.#list(used)})${overriding} values (${values})`
  }

  #assign(columns: readonly number[]): string {
    return columns.map((i, n) => `${this.#name(i)} = $${n + 1}`).join(', ')
  }

  #where(offset: number): string {
    return this.keyColumns.map((i, n) => `${this.#name(i)} = $${offset + n + 1}`).join(' and ')
  }

  #list(columns: Iterable<number>): string {
    return Array.from(columns, (i) => this.#name(i)).join(', ')
  }

  #name(index: number): string {
    return quote(this.#relation.columns[index]?.name ?? '')
  }

  #type(index: number): string {
    return this.#columns[index]?.type ?? 'text'
  }
}

/** Indexes of the columns whose values came with the row. */
function sent(row: Row): number[] {
  return row.flatMap((value, i) => (value === UNCHANGED ? [] : [i]))
}

function parameters(row: Row, columns: readonly number[]) {
  return columns.map((i) => parameter(row[i] ?? null))
}

function parameter(value: Value): Buffer | string | null {
  if (value === UNCHANGED) throw new MigrateError('INTERNAL', { reason: 'a value that was not sent' })
  return value instanceof TextValue ? value.bytes.toString('utf8') : value
}

function same(a: Value | undefined, b: Value | undefined): boolean {
  if (a instanceof TextValue && b instanceof TextValue) return a.bytes.equals(b.bytes)
  if (Buffer.isBuffer(a) && Buffer.isBuffer(b)) return a.equals(b)
  return a === b
}
