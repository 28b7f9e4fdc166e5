import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { quote, quoteTable } from './identifier.ts'
import { comparedColumns, joinKeys, keyTypes, rowText, valueLists } from './row-hash.ts'

/** A key as parameters: text, or a value in PostgreSQL's binary form. */
export type Key = readonly (Buffer | string | null)[]
export interface RowKey {
  /** schema.table */
  readonly table: string
  readonly key: Key
}
export interface Sides {
  readonly monolith: Sql
  readonly service: Sql
}

const BUCKETS = 8192

/**
 * Compares all rows of a table by hash: per side one statement gives (bucket, rows, sum of 64-bit row hashes), only
 * buckets that differ are looked at row by row. The text form of a row is hashed, so equal means equal to the last
 * digit. Returns the keys that differ, are missing or are extra.
 */
export async function compareTable(sides: Sides, table: TableInfo): Promise<RowKey[]> {
  const [left, right] = await Promise.all([digest(sides.monolith, table), digest(sides.service, table)])
  const buckets = Array.from({ length: BUCKETS }, (_, bucket) => bucket).filter((b) => left.get(b) !== right.get(b))
  if (buckets.length === 0) return []
  const [leftRows, rightRows] = await Promise.all([
    hashes(sides.monolith, table, buckets),
    hashes(sides.service, table, buckets),
  ])
  const keys = new Set([...leftRows.keys(), ...rightRows.keys()])
  return [...keys]
    .filter((key) => leftRows.get(key) !== rightRows.get(key))
    .map((key) => ({ table: tableText(table), key: JSON.parse(key) as string[] }))
}

/** Compares these rows only. Returns the ones that still differ. */
export async function compareKeys(sides: Sides, tables: readonly TableInfo[], rows: readonly RowKey[]) {
  const different: RowKey[] = []
  for (const table of tables) {
    const mine = rows.filter((row) => row.table === tableText(table))
    for (let start = 0; start < mine.length; start += 1_000) {
      const part = mine.slice(start, start + 1_000)
      const [left, right] = await Promise.all([
        hashesOf(sides.monolith, table, part),
        hashesOf(sides.service, table, part),
      ])
      different.push(...part.filter((_, i) => left[i] !== right[i]))
    }
  }
  return different
}

/** The same keys with every value in its text form, so that keys from different places can be compared. */
export async function textKeys(sql: Sql, tables: readonly TableInfo[], rows: readonly RowKey[]): Promise<RowKey[]> {
  const texts: RowKey[] = []
  for (const table of tables) {
    const mine = rows.filter((row) => row.table === tableText(table))
    for (let start = 0; start < mine.length; start += 1_000) {
      const part = mine.slice(start, start + 1_000)
      const types = keyTypes(table)
      const { rows: found } = await sql.query<{ key: string[] }>(
        `select json_build_array(${types.map((_, i) => `k${i}::text`).join(', ')}) as key
         from (values ${valueLists(types, part.length)}) v(row, ${types.map((_, i) => `k${i}`).join(', ')})`,
        part.flatMap((row) => [...row.key]),
      )
      texts.push(...found.map(({ key }) => ({ table: tableText(table), key })))
    }
  }
  return texts
}

async function digest(sql: Sql, table: TableInfo): Promise<Map<number, string>> {
  const { rows } = await sql.query<{ bucket: number; digest: string }>(
    `select (hashtextextended(row(${keyList(table)})::text, 0) & ${BUCKETS - 1})::int as bucket,
       count(*) || ' ' || sum(hashtextextended(${rowText(comparedColumns(table))}, 1)) as digest
     from ${quoteTable(table)} group by 1`,
  )
  return new Map(rows.map((row) => [row.bucket, row.digest]))
}

async function hashes(sql: Sql, table: TableInfo, buckets: number[]): Promise<Map<string, string>> {
  const { rows } = await sql.query<{ key: string; hash: string }>(
    `select json_build_array(${table.primaryKey.map((name) => `${quote(name)}::text`).join(', ')})::text as key,
       hashtextextended(${rowText(comparedColumns(table))}, 1)::text as hash
     from ${quoteTable(table)}
     where (hashtextextended(row(${keyList(table)})::text, 0) & ${BUCKETS - 1})::int = any($1::int[])`,
    [buckets],
  )
  return new Map(rows.map((row) => [row.key, row.hash]))
}

async function hashesOf(sql: Sql, table: TableInfo, rows: readonly RowKey[]): Promise<(string | null)[]> {
  const { rows: found } = await sql.query<{ row: number; hash: string }>(
    `select v.row, hashtextextended(${rowText(comparedColumns(table), 't')}, 1)::text as hash
     from ${joinKeys(table, rows.length)}`,
    rows.flatMap((row) => [...row.key]),
  )
  const byRow = new Map(found.map((row) => [row.row, row.hash]))
  return rows.map((_, row) => byRow.get(row) ?? null)
}

function keyList(table: TableInfo): string {
  return table.primaryKey.map(quote).join(', ')
}

function tableText(table: TableInfo): string {
  return `${table.schema}.${table.name}`
}
