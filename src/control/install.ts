import { readdir, readFile } from 'node:fs/promises'
import { MigrateError } from '../errors.ts'
import type { Database } from '../model/sql.ts'

/** The parts of our schema: the gate (monolith), the control state, the checkpoints (a target), the service's gate. */
export type SchemaPart = 'gate' | 'control' | 'target' | 'service'

/**
 * Brings the parts of schema `migrate` in this database up to the numbered files of `schema/<part>/`.
 * Safe to call from several processes at once. Throws CONTROL_OUTDATED when the database is newer than this program.
 */
export async function installSchema(database: Database, parts: readonly SchemaPart[]): Promise<void> {
  const files = await Promise.all(parts.map(async (part) => ({ part, files: await numberedFiles(part) })))
  if (await isCurrent(database, files)) return
  await database.transaction(async (sql) => {
    await sql.query(`select pg_advisory_xact_lock(1835623284)`)
    await sql.query(`create schema if not exists migrate`)
    await sql.query(`create table if not exists migrate.schema_version (
      part text not null, version int not null, installed_at timestamptz not null default now(),
      primary key (part, version))`)
    for (const { part, files: numbered } of files) {
      const { rows } = await sql.query<{ version: number }>(
        `select coalesce(max(version), 0) as version from migrate.schema_version where part = $1`,
        [part],
      )
      const found = rows[0]?.version ?? 0
      if (found > numbered.length) throw new MigrateError('CONTROL_OUTDATED', { found, expected: numbered.length })
      for (const [index, text] of numbered.entries()) {
        if (index < found) continue
        // the row first: a second installer stops here instead of half way
        await sql.query(`insert into migrate.schema_version (part, version) values ($1, $2)`, [part, index + 1])
        await sql.query(text)
      }
    }
  })
}

async function isCurrent(database: Database, files: { part: SchemaPart; files: string[] }[]): Promise<boolean> {
  const { rows } = await database.query<{ present: boolean }>(
    `select to_regclass('migrate.schema_version') is not null as present`,
  )
  if (rows[0]?.present !== true) return false
  const versions = await database.query<{ part: string; version: number }>(
    `select part, max(version) as version from migrate.schema_version group by part`,
  )
  return files.every(({ part, files: numbered }) =>
    versions.rows.some((row) => row.part === part && row.version === numbered.length),
  )
}

async function numberedFiles(part: SchemaPart): Promise<string[]> {
  const folder = new URL(`./schema/${part}/`, import.meta.url)
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(names.map((name) => readFile(new URL(name, folder), 'utf8')))
}
