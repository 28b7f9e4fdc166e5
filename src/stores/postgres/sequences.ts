import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { quote, quoteTable } from './identifier.ts'

/** How far above the other side a sequence is moved, so that nothing that is still under way collides. */
const HEADROOM = 1_000

/**
 * Moves every sequence that feeds a column of these tables beyond the other side's: max(last value, largest value in
 * the column) + headroom; a descending one the other way. Never moves one back. Returns how many were moved.
 */
export async function moveSequences(from: Sql, to: Sql, tables: readonly TableInfo[]): Promise<number> {
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
      const known = [here?.last, rows[0]?.most, there.last].flatMap((value) => (value == null ? [] : [BigInt(value)]))
      const far = known.reduce((a, b) => (a > b === rising ? a : b), rising ? 0n : -1n)
      const next = rising ? far + BigInt(HEADROOM) : far - BigInt(HEADROOM)
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

async function sequenceOf(sql: Sql, table: TableInfo, column: string) {
  const { rows } = await sql.query<{ name: string; last: string | null; increment: number }>(
    `select q.oid::regclass::text as name, pg_sequence_last_value(q.oid)::text as last, s.seqincrement::float8 as increment
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
