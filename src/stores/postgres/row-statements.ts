import { MigrateError } from '../../errors.ts'
import { type Relation, type Row, TextValue, UNCHANGED, type Value } from '../../model/change.ts'
import type { ColumnInfo, TableInfo } from './catalogue.ts'
import { quote, quoteTable } from './identifier.ts'

/** A statement with its parameters: buffers go over the wire in PostgreSQL's binary form, untouched. */
export interface RowStatement {
  readonly name: string
  readonly text: string
  readonly values: readonly (Buffer | string | null)[]
}

/** Builds the statements for the rows of one relation of the stream against the table of the target. */
export class RowStatements {
  readonly relation: Relation
  readonly keyColumns: readonly number[]
  readonly #table: TableInfo
  readonly #columns: readonly (ColumnInfo | undefined)[]
  readonly #prefix: string

  /** Throws TARGET_SCHEMA when the target has no such column or no usable key. */
  constructor(relation: Relation, table: TableInfo, prefix: string) {
    this.relation = relation
    this.#table = table
    this.#prefix = prefix
    this.#columns = relation.columns.map((column) => table.columns.find((c) => c.name === column.name))
    this.keyColumns = table.primaryKey.map((name) => relation.columns.findIndex((column) => column.name === name))
    for (const [index, column] of this.#columns.entries()) {
      if (column === undefined) throw this.#differs(`column ${relation.columns[index]?.name ?? ''} is missing`)
    }
    const usable = this.keyColumns.length > 0 && this.keyColumns.every((i) => relation.columns[i]?.key === true)
    if (!usable) throw this.#differs('its primary key is not part of the replica identity of the source')
  }

  insert(row: Row): RowStatement {
    return this.#statement('i', '', (used) => this.#insertText(used), row)
  }

  /** Insert or overwrite; answers a row only when something had to be changed. */
  upsert(row: Row): RowStatement {
    return this.#statement('m', '', (used) => this.#upsertText(used), row)
  }

  /** Sets the columns that were sent; finds the row by `key`. With `verify` only a different row is touched. */
  update(key: Row, row: Row): RowStatement {
    const used = this.#sent(row).filter((i) => this.#columns[i]?.identity !== 'a')
    const shape = used.join('_')
    const set = used.map((i, n) => `${this.#name(i)} = $${n + 1}`).join(', ')
    return {
      name: `${this.#prefix}u${this.relation.id}_${shape}`,
      text: `update ${quoteTable(this.#table)} set ${set} where ${this.#where(used.length)}`,
      values: [...used.map((i) => parameter(row[i] as Value)), ...key.map((value) => parameter(value))],
    }
  }

  delete(key: Row): RowStatement {
    return {
      name: `${this.#prefix}d${this.relation.id}`,
      text: `delete from ${quoteTable(this.#table)} where ${this.#where(0)}`,
      values: key.map((value) => parameter(value)),
    }
  }

  keyOf(row: Row): Row {
    return this.keyColumns.map((column) => row[column] ?? null)
  }

  #statement(kind: string, extra: string, text: (used: number[]) => string, row: Row): RowStatement {
    const used = this.#sent(row)
    return {
      name: `${this.#prefix}${kind}${this.relation.id}_${used.length}${extra}`,
      text: text(used),
      values: used.map((i) => parameter(row[i] as Value)),
    }
  }

  #insertText(used: number[]): string {
    const columns = used.map((i) => this.#name(i)).join(', ')
    const values = used.map((_, n) => `$${n + 1}`).join(', ')
    // without it a "generated always" identity refuses the source's value
    const overriding = this.#table.columns.some((c) => c.identity === 'a') ? ' overriding system value' : ''
    return `insert into ${quoteTable(this.#table)} (${columns})${overriding} values (${values})`
  }

  #upsertText(used: number[]): string {
    const rest = used.filter((i) => !this.keyColumns.includes(i) && this.#columns[i]?.identity !== 'a')
    const key = this.keyColumns.map((i) => this.#name(i)).join(', ')
    const insert = this.#insertText(used).replace('insert into', `insert into`)
    if (rest.length === 0) return `${insert} on conflict (${key}) do nothing returning true as changed`
    const set = rest.map((i) => `${this.#name(i)} = excluded.${this.#name(i)}`).join(', ')
    const table = quoteTable(this.#table)
    const sides = (side: string): string => rest.map((i) => `${side}.${this.#name(i)}${this.#cast(i)}`).join(', ')
    return `${insert} on conflict (${key}) do update set ${set}
      where (${sides(table)}) is distinct from (${sides('excluded')}) returning true as changed`
  }

  #where(offset: number): string {
    return this.keyColumns.map((i, n) => `${this.#name(i)} = $${offset + n + 1}`).join(' and ')
  }

  #name(index: number): string {
    return quote(this.relation.columns[index]?.name ?? '')
  }

  #cast(index: number): string {
    return this.#columns[index]?.comparable === false ? '::text' : ''
  }

  #sent(row: Row): number[] {
    return row.flatMap((value, i) => (value === UNCHANGED ? [] : [i]))
  }

  #differs(difference: string): MigrateError {
    const { schema, name } = this.#table
    return new MigrateError('TARGET_SCHEMA', { table: `${schema}.${name}`, service: 'the target', difference })
  }
}

function parameter(value: Value): Buffer | string | null {
  if (value === UNCHANGED) throw new MigrateError('INTERNAL', { reason: 'a value that was not sent' })
  return value instanceof TextValue ? value.bytes.toString('utf8') : value
}
