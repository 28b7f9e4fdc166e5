import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { MigrateError } from '../../errors.ts'
import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { connect, type DatabaseOptions } from './database.ts'
import { quote, quoteLiteral, quoteTable } from './identifier.ts'
import { createCheckpoint } from './checkpoint.ts'
import { createSlot } from './slot.ts'
import { translate } from './translate.ts'

export interface CopyOptions {
  readonly source: DatabaseOptions
  readonly target: DatabaseOptions
  readonly slot: string
  readonly pipeline: string
  readonly sourceSystem: string
  /** the same tables on both sides, in the same order */
  readonly tables: readonly { readonly source: TableInfo; readonly target: TableInfo }[]
  readonly onTable: (table: string, rows: number) => void
  /** ends the copy; nothing of it stays in the target, the slot is dropped by the next one */
  readonly signal?: AbortSignal
}

/**
 * Creates the slot, then copies every table as of exactly that point: binary COPY into binary COPY, no row is
 * parsed. Rows and checkpoint become visible in one transaction of the target: all or nothing.
 */
export async function copyTables(options: CopyOptions): Promise<void> {
  const source = await connect({ ...options.source, statementTimeout: 0 })
  const target = await connect({ ...options.target, statementTimeout: 0 })
  try {
    await using slot = await createSlot(options.source, options.slot)
    await source.sql.query(`begin isolation level repeatable read read only`)
    await source.sql.query(`set transaction snapshot ${quoteLiteral(slot.snapshot)}`)
    await target.sql.query(`set session_replication_role = replica`)
    await target.sql.query(`begin`)
    for (const pair of options.tables) await copyTable(source.client, target, pair, options)
    const row = { pipeline: options.pipeline, at: slot.consistentPoint, sourceSystem: options.sourceSystem }
    await createCheckpoint(target.sql, { ...row, state: 'apply' })
    await target.sql.query(`commit`)
    await source.sql.query(`commit`)
  } catch (error) {
    options.signal?.throwIfAborted()
    throw translate(error, target.login)
  } finally {
    await source.client.end()
    await target.client.end()
  }
}

async function copyTable(
  source: pg.Client,
  target: { client: pg.Client; sql: Sql },
  pair: { source: TableInfo; target: TableInfo },
  { onTable, signal }: Pick<CopyOptions, 'onTable' | 'signal'>,
): Promise<void> {
  signal?.throwIfAborted()
  const { rows } = await target.sql.query(`select 1 from ${quoteTable(pair.target)} limit 1`)
  const name = `${pair.target.schema}.${pair.target.name}`
  if (rows.length > 0) throw new MigrateError('TARGET_NOT_EMPTY', { table: name, service: name })
  const columns = pair.source.columns
    .filter((column) => column.generated === '')
    .map((column) => quote(column.name))
    .join(', ')
  // a partitioned table can only be copied by a query
  const out = source.query(copyTo(`copy (select ${columns} from ${quoteTable(pair.source)}) to stdout (format binary)`))
  const into = target.client.query(copyFrom(`copy ${quoteTable(pair.target)} (${columns}) from stdin (format binary)`))
  await pipeline(out, into, signal === undefined ? {} : { signal })
  onTable(name, into.rowCount ?? 0)
}
