import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { quote } from './identifier.ts'

/** native: by the index of the primary key; text: by the bytes of the column's text, which is the same everywhere. */
export type ColumnOrder = 'native' | 'text'

/**
 * How the key's columns are ordered so that both sides agree. Where they do not after all (two versions of one
 * collation), a row counts into another range on each side: that makes suspects which are cleared, never a miss.
 */
export async function keyOrder(
  left: { sql: Sql; table: TableInfo },
  right: { sql: Sql; table: TableInfo },
): Promise<ColumnOrder[]> {
  const [mine, theirs] = await Promise.all([orderings(left.sql, left.table), orderings(right.sql, right.table)])
  return mine.map((ordering, i) => (ordering !== null && ordering === theirs[i] ? 'native' : 'text'))
}

/** The column of the row t, or what it is ordered by. */
export function orderExpression(name: string, order: ColumnOrder): string {
  return order === 'native' ? `t.${quote(name)}` : `(t.${quote(name)}::text collate "C")`
}

export function orderParameter(place: number, type: string, order: ColumnOrder): string {
  return order === 'native' ? `$${place}::${type}` : `$${place}::text collate "C"`
}

/** Types whose order depends on nothing but the value. */
const UNIVERSAL = [
  ...['int2', 'int4', 'int8', 'numeric', 'float4', 'float8', 'bool', 'oid', 'uuid', 'bytea', 'name'],
  ...['date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'inet', 'cidr', 'macaddr', 'macaddr8'],
]
const COLLATABLE = ['text', 'varchar', 'bpchar']

/** For each column of the key a text that is equal where the order is; null = not known to be. */
async function orderings(sql: Sql, table: TableInfo): Promise<(string | null)[]> {
  const { rows } = await sql.query<{ name: string; ordering: string | null }>(
    `select a.attname as name,
       case when b.typname = any($2) then case when b.typname like 'int%' then 'int' else b.typname end
         when b.typname = any($3) and c.collisdeterministic then concat_ws('/', 'text',
           case when c.collprovider = 'd' then coalesce(to_jsonb(d)->>'datlocprovider', 'c') else c.collprovider::text end,
           case when c.collprovider = 'd'
             then coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale', d.datcollate)
             else coalesce(to_jsonb(c)->>'colllocale', to_jsonb(c)->>'colliculocale', c.collcollate) end) end as ordering
     from pg_attribute a join pg_type t on t.oid = a.atttypid
       join pg_type b on b.oid = case when t.typbasetype = 0 then t.oid else t.typbasetype end
       left join pg_collation c on c.oid = a.attcollation
       join pg_database d on d.datname = current_database()
     where a.attrelid = $1::int8::oid and a.attnum > 0`,
    [table.oid, UNIVERSAL, COLLATABLE],
  )
  return table.primaryKey.map((name) => rows.find((row) => row.name === name)?.ordering ?? null)
}
