import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { quote, quoteTable } from './identifier.ts'

/** How far above the other side a sequence is moved, so that nothing that is still under way collides. */
const HEADROOM = 1_000
/** In dual-write both sides give out numbers of their own for the same columns; they must not meet. */
const APART = 1_000_000

/**
 * Dual-write: moves every sequence of the service so far above the monolith's that the rows which second legs number
 * themselves never have a number of the monolith's. Returns how many were moved: none that is still far enough.
 */
export function separateSequences(monolith: Sql, service: Sql, tables: readonly TableInfo[]): Promise<number> {
  return move(monolith, service, tables, { headroom: APART, enough: APART / 2 })
}

/**
 * Moves every sequence that feeds a column of these tables beyond the other side's: max(last value, largest value in
 * the column) + headroom; a descending one the other way. Never moves one back. Returns how many were moved.
 */
export function moveSequences(from: Sql, to: Sql, tables: readonly TableInfo[]): Promise<number> {
  return move(from, to, tables, { headroom: HEADROOM, enough: null })
}

interface Distance {
  readonly headroom: number
  /** one that is ahead by so much already stays where it is; null = all move */
  readonly enough: number | null
}

async function move(from: Sql, to: Sql, tables: readonly TableInfo[], distance: Distance): Promise<number> {
  let moved = 0
  for (const table of tables) {
    for (const column of table.columns) {
      const name = quote(column.name)
      const there = await sequenceOf(to, table, column.name)
      if (there === null) continue
      const here = await sequenceOf(from, table, column.name)
      const rising = there.increment > 0
      const { rows } = await from.query<{ most: string | null }>(
        `select ${rising ? 'max' : 'min'}(${name})::text as most from ${quoteTable(table)}`,
      )
      const next = target(
        { rising, here: here?.last, most: rows[0]?.most, there: there.last, limit: there.limit },
        distance,
      )
      if (next === null) continue
      // only ahead: what a run that was overtaken still sends must not take numbers back that were given out since
      const { rowCount } = await to.query(
        `select setval($1::regclass, $2::bigint, true)
         where ${rising ? '$2::bigint >' : '$2::bigint <'} coalesce(pg_sequence_last_value($1::regclass), ${rising ? 0 : -1})`,
        [there.name, next.toString()],
      )
      moved += rowCount
    }
  }
  return moved
}

interface Numbers {
  readonly rising: boolean
  /** last numbers given out here and there, and the farthest in the column here */
  readonly here: string | null | undefined
  readonly most: string | null | undefined
  readonly there: string | null
  /** the last number that the sequence can give out */
  readonly limit: string
}

/** Where the sequence goes; null = it stays. Near its end it takes half of what is left. */
function target({ rising, here, most, there, limit }: Numbers, { headroom, enough }: Distance): bigint | null {
  const farthest = (...values: (string | null | undefined)[]): bigint =>
    values
      .flatMap((value) => (value == null ? [] : [BigInt(value)]))
      .reduce((a, b) => (a > b === rising ? a : b), rising ? 0n : -1n)
  const source = farthest(here, most)
  const ahead = rising ? farthest(there) - source : source - farthest(there)
  if (enough !== null && ahead >= BigInt(enough)) return null
  const far = farthest(here, most, there)
  const room = rising ? BigInt(limit) - far : far - BigInt(limit)
  const step = room < BigInt(headroom) ? room / 2n : BigInt(headroom)
  return rising ? far + step : far - step
}

async function sequenceOf(sql: Sql, table: TableInfo, column: string) {
  const { rows } = await sql.query<{ name: string; last: string | null; increment: number; limit: string }>(
    `select q.oid::regclass::text as name, pg_sequence_last_value(q.oid)::text as last, s.seqincrement::float8 as increment,
       (case when s.seqincrement > 0 then s.seqmax else s.seqmin end)::text as limit
     from pg_class t join pg_namespace n on n.oid = t.relnamespace
     join pg_attribute a on a.attrelid = t.oid and a.attname = $3
     join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.refobjsubid = a.attnum
       and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
     join pg_class q on q.oid = d.objid and q.relkind = 'S'
     join pg_sequence s on s.seqrelid = q.oid
     where n.nspname = $1 and t.relname = $2`,
    [table.schema, table.name, column],
  )
  return rows[0] ?? null
}
