import { MigrateError } from '../../errors.ts'
import { asLsn } from '../../model/lsn.ts'
import type { Sql } from '../../model/sql.ts'
import type { Origin, PublicationReading, SourceReading } from '../../sync/slot-fault.ts'
import type { TableInfo } from './catalogue.ts'
import { readLog, WAL_END } from './slot.ts'

/** Everything by which a pipeline knows its source again. Throws DATABASE_UNREACHABLE where a standby answers. */
export async function readSource(
  sql: Sql,
  names: { readonly role: string; readonly slot: string; readonly publication: string },
  tables: readonly TableInfo[],
): Promise<SourceReading> {
  const { rows } = await sql.query<{ standby: boolean; systemIdentifier: string; timeline: number; end: string }>(
    `select pg_is_in_recovery() as standby, system_identifier::text as "systemIdentifier", (${WAL_END} - '0/0')::text as "end",
       case when pg_is_in_recovery() then 0
         else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int end as timeline
     from pg_control_system()`,
  )
  const found = rows[0]
  if (found === undefined || found.standby) {
    const reason = 'a standby answers, which has not become the primary'
    throw new MigrateError('DATABASE_UNREACHABLE', { role: names.role, address: 'its address', reason })
  }
  const { slot } = await readLog(sql, names.slot)
  const publication = await readPublication(sql, names.publication, tables)
  const { systemIdentifier, timeline, end } = found
  return { systemIdentifier, timeline, walEnd: asLsn(BigInt(end)), slot, publication }
}

/** What is published of these tables, and a fingerprint of how: of each entry as the catalogue has it, its oid included. */
export async function readPublication(
  sql: Sql,
  publication: string,
  tables: readonly TableInfo[],
): Promise<PublicationReading> {
  const { rows } = await sql.query<{ fingerprint: string | null; missing: string[] }>(
    `select (select md5(string_agg(entry, ' ' order by entry)) from (
         select (to_jsonb(p) - 'pubowner')::text as entry from pg_publication p where pubname = $1
         union all
         select to_jsonb(r)::text from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
         where pubname = $1 and r.prrelid = any($2::oid[])) of_publication) as fingerprint,
       coalesce((select json_agg(name) from unnest($3::text[]) name where not exists (
         select from pg_publication_tables where pubname = $1 and schemaname || '.' || tablename = name)), '[]') as missing`,
    [publication, tables.map(({ oid }) => oid), tables.map(({ schema, name }) => `${schema}.${name}`)],
  )
  return rows[0] ?? { fingerprint: null, missing: [] }
}

/** What the checkpoint row remembers of the source, and how many seconds ago it moved; null when there is no such row. */
export async function readOrigin(sql: Sql, pipeline: string): Promise<(Origin & { readonly age: number }) | null> {
  const { rows } = await sql.query<Origin & { readonly age: number }>(
    `select source_system as "systemIdentifier", source_timeline as timeline, publication,
       extract(epoch from clock_timestamp() - updated_at)::float8 as age
     from migrate.checkpoint where pipeline = $1`,
    [pipeline],
  )
  return rows[0] ?? null
}

/** Notes what an earlier version did not know; never changes what is known. */
export async function completeOrigin(sql: Sql, pipeline: string, reading: SourceReading): Promise<void> {
  await sql.query(
    `update migrate.checkpoint set source_timeline = coalesce(source_timeline, $2), publication = coalesce(publication, $3)
     where pipeline = $1 and source_system = $4 and (source_timeline is null or publication is null)`,
    [pipeline, reading.timeline, reading.publication.fingerprint, reading.systemIdentifier],
  )
}
