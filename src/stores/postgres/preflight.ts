import type { Sql } from '../../model/sql.ts'
import { readTable, type TableInfo } from './catalogue.ts'
import type { CheckContext, Found, ServerFacts, Severity, Side } from './checks/check.ts'
import { CHECKS } from './checks/index.ts'
import { isPoolerRefusal, pooler, poolerFound } from './checks/pooler.ts'
import type { DatabaseOptions } from './database.ts'
import { parseTableName } from './identifier.ts'

/** One thing that was found before a service is synced. */
export interface Finding {
  /** id of the check, e.g. `replica-identity` */
  readonly check: string
  readonly severity: Severity
  /** where: 'monolith' or the name of the service */
  readonly side: string
  readonly message: string
  readonly measured: string
  readonly why: string
  /** SQL (or a sentence) that removes it */
  readonly fix: string
  /** the statements of `fix` that may run at any hour */
  readonly sql: readonly string[]
}

export interface PreflightOptions {
  readonly service: string
  readonly monolith: PreflightDatabase
  readonly target: PreflightDatabase
  readonly tables: readonly string[]
  readonly monolithRole: string | undefined
  /** of this service */
  readonly serviceSlots: readonly string[]
  /** of every service of the configuration */
  readonly ownSlots: readonly string[]
  /** default: five minutes */
  readonly longTransactionSeconds?: number
}

export interface PreflightDatabase {
  readonly sql: Sql
  readonly connection: DatabaseOptions
}

export interface Preflight {
  readonly findings: readonly Finding[]
  /** the servers as they were found; none when a pooler kept us from looking */
  readonly sides: readonly Pick<Side, 'name' | 'server'>[]
}

/** Looks at everything that could hurt the monolith or make the copy wrong. Changes nothing. Throws DATABASE_*. */
export async function preflight(options: PreflightOptions): Promise<Preflight> {
  const sides = await Promise.all([
    sideOf('monolith', 'monolith', options.monolith),
    sideOf(options.service, 'service', options.target),
  ])
  const [monolith, target] = sides
  const refused = sides.filter(({ refusal }) => refusal)
  if (refused.length > 0) {
    const found = refused.map((side) => poolerFound(side, 'it refuses the settings that a session starts with'))
    return { findings: found.map((one) => findingOf(pooler, one)), sides: [] }
  }
  const context = await contextOf(options, monolith, target)
  const found = await Promise.all(
    CHECKS.map(async (check) => (await check.find(context)).map((one) => findingOf(check, one))),
  )
  return { findings: found.flat(), sides: sides.map(({ name, server }) => ({ name, server })) }
}

async function sideOf(name: string, kind: Side['kind'], { sql, connection }: PreflightDatabase) {
  const side = { name, kind, sql, connection }
  try {
    return { ...side, server: await readFacts(sql), refusal: false }
  } catch (error) {
    if (!isPoolerRefusal(error)) throw error
    return { ...side, server: UNKNOWN, refusal: true }
  }
}

const UNKNOWN: ServerFacts = {
  systemIdentifier: '',
  version: 0,
  versionText: '',
  database: '',
  user: '',
  superuser: false,
  superusers: [],
}

async function readFacts(sql: Sql): Promise<ServerFacts> {
  const { rows } = await sql.query<ServerFacts>(
    `select (select system_identifier::text from pg_control_system()) as "systemIdentifier",
       current_setting('server_version_num')::int as version, current_setting('server_version') as "versionText",
       current_database() as database, current_user as user, rolsuper as superuser,
       (select json_agg(oid::regrole::text) from pg_roles where rolsuper) as superusers
     from pg_roles where rolname = current_user`,
  )
  return rows[0] ?? UNKNOWN
}

async function contextOf(options: PreflightOptions, monolith: Side, target: Side): Promise<CheckContext> {
  const names = options.tables.map(parseTableName)
  const read = async (sql: Sql): Promise<TableInfo[]> =>
    (await Promise.all(names.map((name) => readTable(sql, name)))).filter((table) => table !== null)
  const [tables, targetTables] = await Promise.all([read(monolith.sql), read(target.sql)])
  return {
    service: options.service,
    monolith,
    target,
    wanted: options.tables,
    tables,
    targetTables,
    oids: await withPartitions(monolith.sql, tables),
    monolithRole: options.monolithRole,
    serviceSlots: options.serviceSlots,
    ownSlots: options.ownSlots,
    longTransactionSeconds: options.longTransactionSeconds ?? 300,
  }
}

async function withPartitions(sql: Sql, tables: readonly TableInfo[]): Promise<number[]> {
  const roots = tables.map(({ oid }) => oid)
  const { rows } = await sql.query<{ oid: number }>(
    `select relid::oid::int8::float8 as oid from unnest($1::oid[]) root, pg_partition_tree(root)`,
    [roots],
  )
  return [...new Set([...roots, ...rows.map(({ oid }) => oid)])]
}

function findingOf(check: (typeof CHECKS)[number], found: Found): Finding {
  const { side, severity = check.severity, message, measured, fix, sql = [] } = found
  return { check: check.id, severity, side: side.name, message, measured, why: check.why, fix, sql }
}
