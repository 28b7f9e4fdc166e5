import { readdir, readFile } from 'node:fs/promises'
import { MigrateError } from '../errors.ts'
import type { Database } from '../model/sql.ts'

/** The parts of schema `migrate`: the gate (monolith), the control state, the checkpoints (a target), the service's gate. */
export type SchemaPart = 'gate' | 'control' | 'target' | 'service'

/**
 * Brings the parts of schema `migrate` in this database up to the numbered files of `schema/<part>/`.
 * Safe to call from several processes at once. Throws CONTROL_OUTDATED when the database is newer than this program.
 */
export async function installSchema(
  database: Pick<Database, 'query' | 'transaction'>,
  parts: readonly SchemaPart[],
): Promise<void> {
  await installParts(database, 'migrate', parts)
}

/** The same for a schema of any name: its numbered files are in `schema/<part>/`, and name it themselves. */
export async function installParts(
  database: Pick<Database, 'query' | 'transaction'>,
  schema: 'migrate' | 'eventing',
  parts: readonly string[],
): Promise<void> {
  const files = await Promise.all(parts.map(async (part) => ({ part, files: await numberedFiles(part) })))
  if (await isCurrent(database, schema, files)) return
  await database.transaction(async (sql) => {
    await sql.query(`select pg_advisory_xact_lock(1835623284)`)
    await sql.query(`create schema if not exists ${schema}`)
    await sql.query(`create table if not exists ${schema}.schema_version (
      part text not null, version int not null, installed_at timestamptz not null default now(),
      primary key (part, version))`)
    for (const { part, files: numbered } of files) {
      const { rows } = await sql.query<{ version: number }>(
        `select coalesce(max(version), 0) as version from ${schema}.schema_version where part = $1`,
        [part],
      )
      const found = rows[0]?.version ?? 0
      if (found > numbered.length) throw new MigrateError('CONTROL_OUTDATED', { found, expected: numbered.length })
      for (const [index, text] of numbered.entries()) {
        if (index < found) continue
        // the row first: a second installer stops here instead of half way
        await sql.query(`insert into ${schema}.schema_version (part, version) values ($1, $2)`, [part, index + 1])
        await sql.query(text)
      }
    }
  })
}

async function isCurrent(
  database: Pick<Database, 'query'>,
  schema: string,
  files: { part: string; files: string[] }[],
): Promise<boolean> {
  const { rows } = await database.query<{ present: boolean }>(
    `select to_regclass('${schema}.schema_version') is not null as present`,
  )
  if (rows[0]?.present !== true) return false
  const versions = await database.query<{ part: string; version: number }>(
    `select part, max(version) as version from ${schema}.schema_version group by part`,
  )
  return files.every(({ part, files: numbered }) =>
    versions.rows.some((row) => row.part === part && row.version === numbered.length),
  )
}

async function numberedFiles(part: string): Promise<string[]> {
  const folder = new URL(`./schema/${part}/`, import.meta.url)
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(names.map((name) => readFile(new URL(name, folder), 'utf8')))
}
