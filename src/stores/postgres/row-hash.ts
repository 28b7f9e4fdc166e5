import type { TableInfo } from './catalogue.ts'
import { quote, quoteTable } from './identifier.ts'

/** Columns that a comparison looks at. Generated ones are left out: they follow from the others. */
export function comparedColumns(table: TableInfo): string[] {
  return table.columns.filter((column) => column.generated === '').map((column) => column.name)
}

/** The text form of a row: equal means equal to the last digit, NULL is not '', and values cannot run into each other. */
export function rowText(columns: readonly string[], alias = ''): string {
  const prefix = alias === '' ? '' : `${alias}.`
  return `row(${columns.map((name) => `${prefix}${quote(name)}`).join(', ')})::text`
}

/** Types of the primary key's columns, in key order. */
export function keyTypes(table: TableInfo): string[] {
  return table.primaryKey.map((name) => table.columns.find((column) => column.name === name)?.type ?? 'text')
}

/** `(0, $1::bigint, $2::text), (1, …)`: parameters row by row, beginning with the given one. */
export function valueLists(types: readonly string[], rows: number, first = 1): string {
  return Array.from(
    { length: rows },
    (_, row) => `(${row}, ${types.map((type, i) => `$${row * types.length + i + first}::${type}`).join(', ')})`,
  ).join(', ')
}

/** The values above as v(row, k0, k1 …), joined to the table's rows t with these keys. */
export function joinKeys(table: TableInfo, rows: number, first = 1): string {
  const types = keyTypes(table)
  const names = types.map((_, i) => `k${i}`).join(', ')
  const on = table.primaryKey.map((name, i) => `t.${quote(name)} = v.k${i}`).join(' and ')
  return `(values ${valueLists(types, rows, first)}) v(row, ${names}) join ${quoteTable(table)} t on ${on}`
}
