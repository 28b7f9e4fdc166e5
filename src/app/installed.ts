import type { Sql } from '../model/sql.ts'

/** Is there a table of ours by this name? What only looks installs nothing, and may find the schema of an earlier version. */
export async function isInstalled(
  sql: Sql,
  table: 'service' | 'dead_letter' | 'detached' | 'sync_control' | 'resnapshot',
): Promise<boolean> {
  const { rows } = await sql.query<{ present: boolean }>(
    `select to_regclass('migrate.' || $1) is not null as present`,
    [table],
  )
  return rows[0]?.present === true
}
