import type { Database } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { quote, quoteLiteral, quoteTable } from './identifier.ts'
import { sqlstate } from './translate.ts'

/**
 * Puts the gate's trigger on each table and leaf partition, one at a time, long before it is needed. Each try waits
 * at most 200 ms for its lock, so no statement of the application waits longer for ours.
 */
export async function armTables(
  database: Database,
  tables: readonly TableInfo[],
  gate: { procedure: 'migrate.gate' | 'migrate.service_gate'; service: string; applyRole: string },
): Promise<void> {
  for (const leaf of tables.flatMap((table) => table.leaves)) {
    const armed = await isArmed(database, leaf.oid)
    if (armed) continue
    const name = quoteTable(leaf)
    const argument = `${quoteLiteral(gate.service)}, ${quoteLiteral(gate.applyRole)}`
    await patiently(() =>
      database.transaction(async (sql) => {
        await sql.query(`set local lock_timeout = '200ms'`)
        await sql.query(`drop trigger if exists migrate_gate on ${name}`)
        await sql.query(`create trigger migrate_gate before insert or update or delete or truncate on ${name}
          for each statement execute function ${gate.procedure}(${argument})`)
        await sql.query(`alter table ${name} enable always trigger migrate_gate`)
      }),
    )
  }
}

/** Leaves of these tables whose gate is missing or not ENABLE ALWAYS. */
export async function unarmed(database: Database, tables: readonly TableInfo[]): Promise<string[]> {
  const missing: string[] = []
  for (const leaf of tables.flatMap((table) => table.leaves)) {
    if (!(await isArmed(database, leaf.oid))) missing.push(`${leaf.schema}.${leaf.name}`)
  }
  return missing
}

async function isArmed(database: Database, oid: number): Promise<boolean> {
  const { rowCount } = await database.query(
    `select 1 from pg_trigger where tgrelid = $1::int8::oid and tgname = 'migrate_gate' and tgenabled = 'A'`,
    [oid],
  )
  return rowCount === 1
}

/** Creates the publication of these tables if it is not there, and adds tables that are missing in it. */
export async function publish(database: Database, publication: string, tables: readonly TableInfo[]): Promise<void> {
  const names = await unpublished(database, publication, tables)
  const missing = tables.filter((table) => names.includes(`${table.schema}.${table.name}`))
  if (missing.length === 0) return
  const { rowCount } = await database.query(`select 1 from pg_publication where pubname = $1`, [publication])
  const list = missing.map(quoteTable).join(', ')
  await patiently(() =>
    database.transaction(async (sql) => {
      await sql.query(`set local lock_timeout = '200ms'`)
      await sql.query(
        rowCount === 0
          ? `create publication ${quote(publication)} for table ${list} with (publish_via_partition_root = true)`
          : `alter publication ${quote(publication)} add table ${list}`,
      )
    }),
  )
}

/** Takes the publication away, with whatever somebody has made of it. */
export async function dropPublication(database: Database, publication: string): Promise<void> {
  await patiently(() =>
    database.transaction(async (sql) => {
      await sql.query(`set local lock_timeout = '200ms'`)
      await sql.query(`drop publication if exists ${quote(publication)}`)
    }),
  )
}

/** Tables that the publication does not have, all of them when it is not there. */
async function unpublished(database: Database, publication: string, tables: readonly TableInfo[]): Promise<string[]> {
  const { rows } = await database.query<{ table: string }>(
    `select schemaname || '.' || tablename as "table" from pg_publication_tables where pubname = $1`,
    [publication],
  )
  return tables
    .map((table) => `${table.schema}.${table.name}`)
    .filter((name) => !rows.some((row) => row.table === name))
}

/** Tries again while a lock was not to be had in time; at most 50 times. */
async function patiently(attempt: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt()
    } catch (error) {
      if (sqlstate(error) !== '55P03' || tries === 50) throw error
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 200))
    }
  }
}
