import type { Sql } from '../../model/sql.ts'
import type { Bucket, KeyHash, KeyRange, RowLook, Seeds, TableSide } from '../../reconcile/ports.ts'
import type { TableInfo } from './catalogue.ts'
import { quote, quoteTable } from './identifier.ts'
import { type ColumnOrder, orderExpression, orderParameter } from './key-order.ts'
import { joinKeys, keyTypes, rowText } from './row-hash.ts'

export interface SideOptions {
  readonly sql: Sql
  /** as this side's catalogue has it */
  readonly table: TableInfo
  /** the columns that are compared, in the order that both sides use */
  readonly columns: readonly string[]
  readonly order: readonly ColumnOrder[]
}

/** A power of two: a row's bucket is the low bits of its hash, so that a row is turned into text and hashed once. */
const BUCKETS = 256
const BUCKET = `(h & ${BUCKETS - 1})::int`
/** Keys in one statement. */
const PAGE = 1_000

/** One side of a table's comparison in PostgreSQL. */
export function tableSide(side: SideOptions): TableSide {
  const { sql, table, columns } = side
  return {
    async digest(range, seeds) {
      const { where, values } = within(side, range, seeds.length + 1)
      const second = seeds.length === 2 ? ` || ' ' || sum(g)` : ''
      const { rows } = await sql.query<{ bucket: number; rows: string; sum: string }>(
        `select ${BUCKET} as bucket, count(*)::text as rows, sum(h)::text${second} as sum
         from ${hashed(`select ${rowText(columns, 't')} as x from ${quoteTable(table)} t where ${where}`, seeds)} group by 1`,
        [...seeds, ...values],
      )
      return rows.map((row): Bucket => ({ ...row, rows: Number(row.rows) }))
    },

    async hashes(range, seeds, buckets) {
      const { where, values } = within(side, range, seeds.length + 1)
      const rowsOf = `select ${keyText(table)} as key, ${rowText(columns, 't')} as x from ${quoteTable(table)} t where ${where}`
      const { rows } = await sql.query<KeyHash>(
        `select key, ${wide(seeds)} as hash from ${hashed(rowsOf, seeds)}
         where ${BUCKET} = any($${seeds.length + values.length + 1}::int[])`,
        [...seeds, ...values, buckets],
      )
      return rows
    },

    async look(keys, seeds) {
      const looks: (RowLook | null)[] = []
      for (const part of pages(keys)) {
        const join = joinKeys(table, part.length, seeds.length + 1)
        const rowsOf = `select v.row, t.xmin::text as version, ${rowText(columns, 't')} as x from ${join}`
        const { rows } = await sql.query<RowLook & { row: number }>(
          `select row, version, ${wide(seeds)} as hash from ${hashed(rowsOf, seeds)}`,
          [...seeds, ...part.flat()],
        )
        const found = new Map(rows.map(({ row, version, hash }) => [row, { version, hash }]))
        looks.push(...part.map((_, row) => found.get(row) ?? null))
      }
      return looks
    },

    async columnHashes(keys, seed) {
      const hashes: ((string | null)[] | null)[] = []
      const each = columns.map((name) => `hashtextextended(t.${quote(name)}::text, $1::int8)::text`).join(', ')
      for (const part of pages(keys)) {
        const { rows } = await sql.query<{ row: number; hashes: (string | null)[] }>(
          `select v.row, array[${each}] as hashes from ${joinKeys(table, part.length, 2)}`,
          [seed, ...part.flat()],
        )
        const found = new Map(rows.map((row) => [row.row, row.hashes]))
        hashes.push(...part.map((_, row) => found.get(row) ?? null))
      }
      return hashes
    },
  }
}

/** The primary key of the row t as a JSON array of texts. */
export function keyText(table: TableInfo): string {
  return `json_build_array(${table.primaryKey.map((name) => `t.${quote(name)}::text`).join(', ')})`
}

/** A condition on the row t: its key is in the range. Parameters begin with the given one. */
export function within(
  { table, order }: Pick<SideOptions, 'table' | 'order'>,
  range: KeyRange,
  first: number,
): { where: string; values: string[] } {
  const types = keyTypes(table)
  const orderOf = (i: number): ColumnOrder => order[i] ?? 'text'
  const key = table.primaryKey.map((name, i) => orderExpression(name, orderOf(i))).join(', ')
  const conditions: string[] = []
  const values: string[] = []
  for (const [sign, bound] of [
    ['>=', range.lo],
    ['<', range.hi],
  ] as const) {
    if (bound === null) continue
    const places = types.map((type, i) => orderParameter(first + values.length + i, type, orderOf(i))).join(', ')
    conditions.push(`(${key}) ${sign} (${places})`)
    values.push(...bound)
  }
  return { where: conditions.length === 0 ? 'true' : conditions.join(' and '), values }
}

/** Adds h (and g, with two seeds) to rows that have their text as x. Seeds are the first parameters. */
function hashed(rows: string, seeds: Seeds): string {
  const hashes = seeds.map((_, i) => `hashtextextended(x, $${i + 1}::int8) as ${i === 0 ? 'h' : 'g'}`).join(', ')
  // "offset 0" keeps the planner from computing text and hash once more for every place that uses them
  return `(select *, ${hashes} from (${rows} offset 0) t offset 0) r`
}

function wide(seeds: Seeds): string {
  return seeds.length === 2 ? `h || ' ' || g` : 'h::text'
}

function pages<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / PAGE) }, (_, i) => all.slice(i * PAGE, (i + 1) * PAGE))
}
