import type { Database } from '../../model/sql.ts'
import { type ColumnInfo, readTable, type TableInfo } from './catalogue.ts'
import { parseTableName, quote, quoteTable } from './identifier.ts'

/** One thing that has to be changed before a service may be synced. */
export interface Finding {
  /** stable name, e.g. `replica-identity` */
  readonly check: string
  readonly message: string
  /** SQL (or a sentence) that removes it */
  readonly fix: string
}

export interface PreflightOptions {
  readonly service: string
  readonly monolith: Database
  readonly target: Database
  readonly tables: readonly string[]
  /** the login role of the monolith's own application, when the configuration names it */
  readonly monolithRole: string | undefined
}

/** Looks at everything that could hurt the monolith or make the copy wrong. Changes nothing. */
export async function preflight(options: PreflightOptions): Promise<{ findings: Finding[]; tables: TableInfo[] }> {
  const { monolith, target } = options
  const tables: TableInfo[] = []
  const findings: Finding[] = []
  for (const text of options.tables) {
    const table = await readTable(monolith, parseTableName(text))
    if (table === null) {
      findings.push({
        check: 'table',
        message: `the monolith has no table ${text}`,
        fix: `correct services.${options.service}.tables`,
      })
      continue
    }
    tables.push(table)
    findings.push(...(await identityFindings(monolith, table)))
    findings.push(...(await targetFindings(target, table, options.service)))
  }
  findings.push(...(await serverFindings(monolith, 'monolith')), ...(await serverFindings(target, options.service)))
  findings.push(...(await roleFindings(options)))
  return { findings, tables }
}

/** A published table without replica identity makes the monolith's own UPDATE and DELETE fail. */
async function identityFindings(monolith: Database, table: TableInfo): Promise<Finding[]> {
  const { rows } = await monolith.query<{
    identity: string
    usable: boolean
    candidate: string | null
    owned: boolean
  }>(
    `select c.relreplident as identity,
       exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indimmediate) as usable,
       (select i.indexrelid::regclass::text from pg_index i where i.indrelid = c.oid and i.indisunique
          and i.indimmediate and i.indpred is null and i.indexprs is null and not exists (
            select from unnest(i.indkey::int2[]) k join pg_attribute a on a.attrelid = c.oid and a.attnum = k
            where not a.attnotnull) limit 1) as candidate,
       pg_has_role(current_user, c.relowner, 'usage') as owned
     from pg_class c where c.oid = $1::int8::oid`,
    [table.oid],
  )
  const row = rows[0]
  const name = quoteTable(table)
  const findings: Finding[] = []
  if (table.primaryKey.length === 0 || row?.identity !== 'd' || !row.usable) {
    const wanted = table.primaryKey.length === 0
    findings.push({
      check: 'replica-identity',
      message: wanted
        ? `${table.schema}.${table.name} has no primary key: publishing it would make every UPDATE and DELETE on it fail`
        : `the replica identity of ${table.schema}.${table.name} is not its primary key`,
      fix: wanted
        ? row?.candidate == null
          ? `alter table ${name} add column id bigint generated always as identity primary key;`
          : `alter table ${name} add primary key using index ${row.candidate};`
        : `alter table ${name} replica identity default;`,
    })
  }
  if (row?.owned !== true) {
    findings.push({
      check: 'ownership',
      message: `${table.schema}.${table.name} belongs to ${table.owner}, and we are no member of that role`,
      fix: `grant ${table.owner} to current_apply_role;  -- publications and ENABLE ALWAYS triggers need ownership`,
    })
  }
  return findings
}

async function targetFindings(target: Database, source: TableInfo, service: string): Promise<Finding[]> {
  const found = await readTable(target, source)
  const name = `${source.schema}.${source.name}`
  if (found === null) {
    return [
      { check: 'target', message: `${service} has no table ${name}`, fix: `create ${name} in the service's database` },
    ]
  }
  const findings: Finding[] = []
  for (const column of source.columns) {
    const twin = found.columns.find((c) => c.name === column.name)
    if (twin !== undefined) findings.push(...generatedFindings(column, twin, service, source))
    if (twin?.type === column.type) continue
    const have = twin === undefined ? 'is missing' : `is ${twin.type}, not ${column.type}`
    const fix =
      twin === undefined
        ? `add column ${quote(column.name)} ${column.type}`
        : `alter column ${quote(column.name)} type ${column.type}`
    findings.push({
      check: 'target',
      message: `column ${column.name} of ${name} in ${service} ${have}`,
      fix: `alter table ${quoteTable(source)} ${fix};`,
    })
  }
  if (found.primaryKey.join() !== source.primaryKey.join()) {
    findings.push({
      check: 'target',
      message: `the primary key of ${name} in ${service} is not the monolith's`,
      fix: `alter table ${quoteTable(source)} add primary key (${source.primaryKey.map(quote).join(', ')});`,
    })
  }
  return findings
}

/** The stream does not carry generated columns, and nobody may write into one. */
function generatedFindings(column: ColumnInfo, twin: ColumnInfo, service: string, table: TableInfo): Finding[] {
  if ((column.generated === '') === (twin.generated === '')) return []
  const [here, there] = column.generated === '' ? ['plain', 'generated'] : ['generated', 'plain']
  const name = quote(column.name)
  const fix =
    column.generated === ''
      ? `alter table ${quoteTable(table)} alter column ${name} drop expression;`
      : `alter table ${quoteTable(table)} drop column ${name}, add column ${name} ${column.type} generated always as (…) stored;`
  const message = `column ${column.name} of ${table.schema}.${table.name} is ${here} in the monolith and ${there} in ${service}`
  return [{ check: 'target', message, fix }]
}

async function serverFindings(database: Database, role: string): Promise<Finding[]> {
  const { rows } = await database.query<{
    level: string
    standby: boolean
    slots: number
    senders: number
    replication: boolean
    replica: boolean
    cap: string
  }>(
    `select current_setting('wal_level') as level, pg_is_in_recovery() as standby,
       current_setting('max_replication_slots')::int - (select count(*)::int from pg_replication_slots) as slots,
       current_setting('max_wal_senders')::int - (select count(*)::int from pg_stat_replication) as senders,
       (select rolreplication or rolsuper from pg_roles where rolname = current_user) as replication,
       case when current_setting('server_version_num')::int >= 150000
         then has_parameter_privilege(current_user, 'session_replication_role', 'set')
         else (select rolsuper from pg_roles where rolname = current_user) end as replica,
       current_setting('max_slot_wal_keep_size') as cap`,
  )
  const row = rows[0]
  if (row === undefined) return []
  const findings: Finding[] = []
  const add = (check: string, message: string, fix: string): number =>
    findings.push({ check, message: `${role}: ${message}`, fix })
  if (row.level !== 'logical')
    add('wal-level', `wal_level is ${row.level}`, `alter system set wal_level = logical;  -- and restart`)
  if (row.standby) add('standby', 'this server is a standby', 'name the primary in the configuration')
  if (row.slots < 1) add('slots', 'no replication slot is free', 'raise max_replication_slots and restart')
  if (row.senders < 2) add('senders', 'fewer than two WAL senders are free', 'raise max_wal_senders and restart')
  if (!row.replication) add('replication', 'our role may not replicate', 'alter role CURRENT_ROLE_NAME replication;')
  if (!row.replica) {
    add(
      'session-replication-role',
      'our role may not set session_replication_role, so triggers would change the rows that it copies',
      'grant set on parameter session_replication_role to our role;',
    )
  }
  if (row.cap === '-1') {
    add(
      'wal-cap',
      'max_slot_wal_keep_size is not set: a stopped worker would fill the disk',
      `alter system set max_slot_wal_keep_size = '10GB'; select pg_reload_conf();`,
    )
  }
  return findings
}

/** A gate that passes the monolith protects nothing: it must log in as another role than we do. */
async function roleFindings(options: PreflightOptions): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [database, owner] of [
    [options.monolith, 'monolith'],
    [options.target, options.service],
  ] as const) {
    const { rows } = await database.query<{ me: string; superuser: boolean; others: string | null }>(
      `select current_user as me, (select rolsuper from pg_roles where rolname = current_user) as superuser,
         (select string_agg(distinct coalesce(nullif(application_name, ''), 'unnamed'), ', ') from pg_stat_activity
           where usename = current_user and datname = current_database() and application_name not like 'migrate%'
             and backend_type = 'client backend') as others`,
    )
    const row = rows[0]
    const same = owner === 'monolith' && row?.me === options.monolithRole
    if (row === undefined || (row.others === null && !same)) continue
    findings.push({
      check: 'apply-role',
      message: `${owner} logs in as ${row.me}, which is our role too${row.others === null ? '' : ` (seen: ${row.others})`}: the gate could not tell it from us`,
      fix: `create role migrate_apply login replication password '…'; grant ${row.me} to migrate_apply;  -- and use it in migrate.yaml`,
    })
  }
  return findings
}
