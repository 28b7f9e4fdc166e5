import type { Sql } from '../../model/sql.ts'
import type { KeyText } from '../../reconcile/ports.ts'
import type { TableInfo } from './catalogue.ts'
import { quoteTable } from './identifier.ts'
import { type ColumnOrder, orderExpression } from './key-order.ts'
import { keyText, within } from './range-digest.ts'

/**
 * First keys of all ranges but the first: every `rangeRows`-th key, found in small steps along the primary key's index.
 * Where the key cannot be read in order by that index each range is a scan of the whole table, so there are few of
 * them, and a sample has to do.
 */
export async function rangeBounds(
  sql: Sql,
  table: TableInfo,
  order: readonly ColumnOrder[],
  rangeRows: number,
  signal: AbortSignal,
): Promise<KeyText[]> {
  if (order[0] === 'text') return sampledBounds(sql, table, order, rangeRows)
  const bounds: KeyText[] = []
  const sorted = table.primaryKey.map((name, i) => orderExpression(name, order[i] ?? 'text')).join(', ')
  for (;;) {
    signal.throwIfAborted()
    const { where, values } = within({ table, order }, { lo: bounds.at(-1) ?? null, hi: null }, 2)
    const { rows } = await sql.query<{ key: string[] }>(
      `select ${keyText(table)} as key from ${quoteTable(table)} t where ${where} order by ${sorted} offset $1 limit 1`,
      [rangeRows, ...values],
    )
    const next = rows[0]
    if (next === undefined) return bounds
    bounds.push(next.key)
  }
}

const FEW = 8
const SAMPLE_ROWS = 4_000

async function sampledBounds(sql: Sql, table: TableInfo, order: readonly ColumnOrder[], rangeRows: number) {
  const { rows: count } = await tableSize(sql, table)
  const ranges = Math.min(FEW, Math.ceil(count / rangeRows))
  if (ranges <= 1) return []
  const percent = Math.min(100, (100 * SAMPLE_ROWS) / count)
  const sorted = table.primaryKey.map((name, i) => orderExpression(name, order[i] ?? 'text')).join(', ')
  const { rows } = await sql.query<{ key: string[] }>(
    `select (array_agg(key order by place))[1] as key from (
       select ${keyText(table)}::jsonb as key, ntile($1::int) over w as tile, row_number() over w as place
       from ${quoteTable(table)} t tablesample system (${percent}) window w as (order by ${sorted})) s
     where tile > 1 group by tile order by tile`,
    [ranges],
  )
  return rows.map(({ key }) => key)
}

/** Bytes with TOAST, and rows as the planner knows them; 0 rows when the table was never analyzed. */
export async function tableSize(sql: Sql, table: TableInfo): Promise<{ bytes: number; rows: number }> {
  const { rows } = await sql.query<{ bytes: number; rows: number }>(
    `select sum(pg_table_size(c.oid))::float8 as bytes, sum(greatest(c.reltuples, 0))::float8 as rows
     from pg_class c where c.oid = any($1::int8[])`,
    [table.leaves.map(({ oid }) => oid)],
  )
  return rows[0] ?? { bytes: 0, rows: 0 }
}
