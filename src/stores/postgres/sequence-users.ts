import type { Sql } from '../../model/sql.ts'

export interface SequenceUsers {
  /** quoted where it has to be */
  readonly name: string
  /** a column of these tables owns it, as `serial` and identity columns do */
  readonly owned: boolean
  /** columns `table.column` that draw from it, in these tables and in others */
  readonly moving: readonly string[]
  readonly staying: readonly string[]
}

/** The sequences that columns of these tables draw from. */
export async function sequencesOf(sql: Sql, oids: readonly number[]): Promise<SequenceUsers[]> {
  const { rows } = await sql.query<SequenceUsers>(
    `with draws as (
       select d.refobjid as sequence, f.adrelid as relation, f.adnum as attribute
       from pg_depend d join pg_class q on q.oid = d.refobjid and q.relkind = 'S' join pg_attrdef f on f.oid = d.objid
       where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass
       union
       -- an identity column has no default, it has its sequence
       select d.objid, d.refobjid, d.refobjsubid
       from pg_depend d join pg_class q on q.oid = d.objid and q.relkind = 'S'
       where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype = 'i' and d.refobjsubid > 0
     ), uses as (
       select sequence, a.attrelid = any($1::oid[]) as moves,
         a.attrelid::regclass || '.' || quote_ident(a.attname) as "column", c.relispartition as leaf
       from draws join pg_attribute a on a.attrelid = relation and a.attnum = attribute
       join pg_class c on c.oid = a.attrelid
     )
     select sequence::regclass::text as name,
       exists (select from pg_depend o where o.classid = 'pg_class'::regclass and o.objid = sequence
         and o.refclassid = 'pg_class'::regclass and o.deptype in ('a', 'i') and o.refobjid = any($1::oid[])) as owned,
       coalesce(json_agg("column" order by "column") filter (where moves and not leaf), '[]') as moving,
       coalesce(json_agg("column" order by "column") filter (where not moves and not leaf), '[]') as staying
     from uses group by sequence having bool_or(moves) order by 1`,
    [oids],
  )
  return rows
}
