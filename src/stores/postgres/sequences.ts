import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { quote } from './identifier.ts'

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
  const [here, there] = await Promise.all([sequencesOf(from, tables), sequencesOf(to, tables)])
  const moved = await Promise.all(
    there.map((sequence) => {
      const same = ({ table, column }: Sequence): boolean => table === sequence.table && column === sequence.column
      return moveOne(from, to, { sequence, here: here.find(same)?.last }, distance)
    }),
  )
  return moved.reduce((sum, count) => sum + count, 0)
}

async function moveOne(
  from: Sql,
  to: Sql,
  { sequence, here }: { readonly sequence: Sequence; readonly here: string | null | undefined },
  distance: Distance,
): Promise<number> {
  const { table, column, name, last, limit } = sequence
  const rising = sequence.increment > 0
  const { rows } = await from.query<{ most: string | null }>(
    `select ${rising ? 'max' : 'min'}(${quote(column)})::text as most from ${table}`,
  )
  const next = target({ rising, here, most: rows[0]?.most, there: last, limit }, distance)
  if (next === null) return 0
  // only ahead: what a run that was overtaken still sends must not take numbers back that were given out since
  const { rowCount } = await to.query(
    `select setval($1::regclass, $2::bigint, true)
     where ${rising ? '$2::bigint >' : '$2::bigint <'} coalesce(pg_sequence_last_value($1::regclass), ${rising ? 0 : -1})`,
    [name, next.toString()],
  )
  return rowCount
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
  const far = farthest(here, most, there)
  const room = rising ? BigInt(limit) - far : far - BigInt(limit)
  // one near its end is not moved on and on towards it
  const stays = ahead >= BigInt(enough ?? 0) || (ahead > 0n && room < BigInt(headroom))
  if (enough !== null && stays) return null
  const step = room < BigInt(headroom) ? room / 2n : BigInt(headroom)
  return rising ? far + step : far - step
}

interface Sequence {
  /** quoted, with its schema */
  readonly table: string
  readonly column: string
  readonly name: string
  /** null = it has given out none */
  readonly last: string | null
  readonly increment: number
  readonly limit: string
}

/** The sequences that feed columns of these tables, as one database has them. */
async function sequencesOf(sql: Sql, tables: readonly TableInfo[]): Promise<Sequence[]> {
  const { rows } = await sql.query<Sequence>(
    `select quote_ident(n.nspname) || '.' || quote_ident(t.relname) as "table", a.attname as "column",
       q.oid::regclass::text as name, pg_sequence_last_value(q.oid)::text as last, s.seqincrement::float8 as increment,
       (case when s.seqincrement > 0 then s.seqmax else s.seqmin end)::text as limit
     from unnest($1::text[], $2::text[]) as wanted (schema, name)
     join pg_namespace n on n.nspname = wanted.schema
     join pg_class t on t.relnamespace = n.oid and t.relname = wanted.name
     join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.classid = 'pg_class'::regclass
       and d.deptype in ('a', 'i')
     join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
     join pg_class q on q.oid = d.objid and q.relkind = 'S'
     join pg_sequence s on s.seqrelid = q.oid`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return rows
}
