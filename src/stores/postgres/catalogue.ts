import type { Sql } from '../../model/sql.ts'
import type { InnerForeignKey } from '../../sync/family.ts'
import type { TableName } from './identifier.ts'

/** A table as its database's catalogue has it. */
export interface TableInfo extends TableName {
  readonly oid: number
  readonly owner: string
  readonly columns: readonly ColumnInfo[]
  /** names of the primary key's columns in key order; empty without one */
  readonly primaryKey: readonly string[]
  /** the table itself and, when it is partitioned, every leaf */
  readonly leaves: readonly { oid: number; schema: string; name: string }[]
}

export interface ColumnInfo {
  readonly name: string
  /** with its modifier, e.g. `character varying(80)` */
  readonly type: string
  readonly notNull: boolean
  /** '' = no, 's' = stored, 'v' = virtual */
  readonly generated: string
  /** '' = no, 'a' = always, 'd' = by default */
  readonly identity: string
}

/** Reads one table; null when it does not exist. */
export async function readTable(sql: Sql, table: TableName): Promise<TableInfo | null> {
  const { rows } = await sql.query<TableInfo>(
    `select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relowner::regrole::text as owner,
      (select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
          'notNull', a.attnotnull, 'generated', a.attgenerated, 'identity', a.attidentity)
        order by a.attnum)
       from pg_attribute a
       where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
      coalesce((select json_agg(a.attname order by k.ord)
        from pg_index i, unnest(i.indkey::int2[]) with ordinality k(attnum, ord)
        join pg_attribute a on a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid), '[]') as "primaryKey",
      (select json_agg(json_build_object('oid', l.oid::int8, 'schema', ln.nspname, 'name', l.relname) order by l.oid)
        from pg_class l join pg_namespace ln on ln.oid = l.relnamespace
        where l.oid = c.oid or l.oid in (select relid from pg_partition_tree(c.oid) where isleaf)) as leaves
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')`,
    [table.schema, table.name],
  )
  return rows[0] ?? null
}

export interface ForeignKey {
  readonly name: string
  readonly from: string
  readonly to: string
  /** the table with the constraint belongs to the service */
  readonly childMoves: boolean
  readonly definition: string
}

/** Foreign keys with exactly one end in these tables. */
export async function crossingForeignKeys(sql: Sql, oids: readonly number[]): Promise<ForeignKey[]> {
  const { rows } = await sql.query<ForeignKey>(
    `select conname as name, conrelid::regclass::text as "from", confrelid::regclass::text as "to",
       conrelid = any($1::oid[]) as "childMoves", pg_get_constraintdef(oid) as definition
     from pg_constraint
     where contype = 'f' and conparentid = 0
       and (conrelid = any($1::oid[])) <> (confrelid = any($1::oid[]))
     order by 2, 1`,
    [oids],
  )
  return rows
}

/** Foreign keys between these tables that point to the parent's primary key. */
export async function innerForeignKeys(sql: Sql, oids: readonly number[]): Promise<InnerForeignKey[]> {
  const { rows } = await sql.query<InnerForeignKey>(
    `select cn.nspname || '.' || c.relname as "from", pn.nspname || '.' || p.relname as "to",
       (select json_agg(a.attname order by k.ord) from unnest(i.indkey::int2[]) with ordinality k(attnum, ord)
         join pg_attribute a on a.attrelid = f.conrelid
          and a.attnum = f.conkey[array_position(f.confkey, k.attnum)]) as columns
     from pg_constraint f
     join pg_class c on c.oid = f.conrelid join pg_namespace cn on cn.oid = c.relnamespace
     join pg_class p on p.oid = f.confrelid join pg_namespace pn on pn.oid = p.relnamespace
     join pg_index i on i.indexrelid = f.conindid and i.indisprimary
     where f.contype = 'f' and f.conrelid = any($1::oid[]) and f.confrelid = any($1::oid[])`,
    [oids],
  )
  return rows
}

export interface ServerInfo {
  readonly systemIdentifier: string
  readonly version: number
  readonly walSenderTimeout: number
}

export async function readServer(sql: Sql): Promise<ServerInfo> {
  const { rows } = await sql.query<ServerInfo>(
    `select (select system_identifier::text from pg_control_system()) as "systemIdentifier",
       current_setting('server_version_num')::int as version,
       (select setting::int from pg_settings where name = 'wal_sender_timeout') as "walSenderTimeout"`,
  )
  return rows[0] as ServerInfo
}
