import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { quoteTable } from './identifier.ts'

/** Notes in the target that a pipeline's tables are to be copied again: from here on its checkpoint counts for nothing. */
export async function askResnapshot(target: Sql, pipeline: string, who: string): Promise<void> {
  await target.query(
    `insert into migrate.resnapshot (pipeline, asked_by) values ($1, $2)
     on conflict (pipeline) do update set asked_by = excluded.asked_by, at = excluded.at`,
    [pipeline, who],
  )
}

/** Are the tables of this pipeline to be copied again? */
export async function resnapshotAsked(target: Sql, pipeline: string): Promise<boolean> {
  const { rowCount } = await target.query(`select 1 from migrate.resnapshot where pipeline = $1`, [pipeline])
  return rowCount === 1
}

/**
 * Takes the old rows and the wish itself away, in the transaction that brings the new rows: readers see the old ones
 * until then. Not by TRUNCATE, which would lock readers out for the whole copy. Foreign keys must not be checked here.
 */
export async function clearForCopy(sql: Sql, pipeline: string, tables: readonly TableInfo[]): Promise<void> {
  // a worker that was taken over, and wakes up, finds its claim gone and adds no row
  await sql.query(`update migrate.checkpoint set epoch = epoch + 1 where pipeline = $1`, [pipeline])
  for (const table of tables) await sql.query(`delete from ${quoteTable(table)}`)
  await sql.query(`delete from migrate.touched where pipeline = $1`, [pipeline])
  await sql.query(`delete from migrate.resync where pipeline = $1`, [pipeline])
  await sql.query(`delete from migrate.resnapshot where pipeline = $1`, [pipeline])
}
