import { fullName, type Survey, type SurveyKey, type SurveyTable } from '../../analyze/survey.ts'
import type { Sql } from '../../model/sql.ts'

/** Reads the catalogue: nothing of any row, and no lock on any table. */
export async function readSurvey(sql: Sql): Promise<Survey> {
  const { rows } = await sql.query<{ database: string; version: string; logins: string[] }>(
    `select current_database() as database, current_setting('server_version') as version,
       coalesce((select json_agg(distinct usename order by usename) from pg_stat_activity
         where datname = current_database() and backend_type = 'client backend' and usename <> current_user
           and application_name not like 'migrate%'), '[]') as logins`,
  )
  const tables = await readTables(sql)
  return { ...(rows[0] ?? { database: '', version: '', logins: [] }), tables, keys: await readKeys(sql, tables) }
}

/** Without partitions, and without what belongs to an extension or to migrate. Sizes are those of the last ANALYZE. */
async function readTables(sql: Sql): Promise<SurveyTable[]> {
  const { rows } = await sql.query<SurveyTable>(
    `with recursive part(root, oid) as (
       select oid, oid from pg_class where relkind in ('r', 'p') and not relispartition
       union all
       select part.root, i.inhrelid from part join pg_inherits i on i.inhparent = part.oid
         join pg_class c on c.oid = i.inhrelid and c.relispartition
     ), size as (
       select part.root, sum(c.reltuples)::float8 as rows, sum(c.relpages)::float8 as pages, min(c.reltuples) as least
       from part join pg_class c on c.oid = part.oid and c.relkind = 'r' group by part.root
     )
     select n.nspname as schema, c.relname as name,
       case when s.least >= 0 then s.rows end as rows,
       case when s.least >= 0 then s.pages * current_setting('block_size')::int end as bytes,
       coalesce((select json_agg(a.attname order by k.ord)
         from pg_index i, unnest(i.indkey::int2[]) with ordinality k(attnum, ord)
         join pg_attribute a on a.attnum = k.attnum
         where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid), '[]') as "primaryKey",
       exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
         left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where i.indrelid = c.oid and i.indisprimary
           and (a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) ~ '^(nextval|gen_random_uuid|uuid_)')) as numbered
     from pg_class c join pg_namespace n on n.oid = c.relnamespace left join size s on s.root = c.oid
     where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
       and n.nspname not in ('pg_catalog', 'information_schema', 'migrate') and n.nspname !~ '^pg_'
       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
     order by 1, 2`,
  )
  return rows
}

async function readKeys(sql: Sql, tables: readonly SurveyTable[]): Promise<SurveyKey[]> {
  const { rows } = await sql.query<SurveyKey>(
    `select k.conname as name, k.confdeltype = 'c' as cascades,
       json_build_object('schema', fn.nspname, 'name', f.relname) as "from",
       json_build_object('schema', tn.nspname, 'name', t.relname) as "to"
     from pg_constraint k join pg_class f on f.oid = k.conrelid join pg_namespace fn on fn.oid = f.relnamespace
     join pg_class t on t.oid = k.confrelid join pg_namespace tn on tn.oid = t.relnamespace
     where k.contype = 'f' and k.conparentid = 0 and k.conrelid <> k.confrelid
     order by fn.nspname, f.relname, k.conname`,
  )
  const known = new Set(tables.map(fullName))
  return rows.filter(({ from, to }) => known.has(fullName(from)) && known.has(fullName(to)))
}
