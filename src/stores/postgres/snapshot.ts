import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { MigrateError } from '../../errors.ts'
import { pause } from '../../model/pause.ts'
import type { Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import { connect, type DatabaseOptions, openDatabase } from './database.ts'
import { quote, quoteLiteral, quoteTable } from './identifier.ts'
import { createCheckpoint, renewCheckpoint } from './checkpoint.ts'
import { tableSize } from './range-bounds.ts'
import { clearForCopy } from './resnapshot.ts'
import { createSlot } from './slot.ts'
import { translate } from './translate.ts'

/** How often the rows of a copy are counted, milliseconds. */
const EVERY = 1_000

export interface CopyOptions {
  readonly source: DatabaseOptions
  readonly target: DatabaseOptions
  readonly slot: string
  readonly pipeline: string
  readonly sourceSystem: string
  readonly sourceTimeline?: number
  /** fingerprint of the publication, read before this */
  readonly publication?: string | null
  /** in place of the rows and the checkpoint that are there; else the tables must be empty */
  readonly replace?: boolean
  /** a place where a test ends or freezes this process */
  readonly failpoint?: (name: string) => Promise<void>
  /** the same tables on both sides, in the same order */
  readonly tables: readonly { readonly source: TableInfo; readonly target: TableInfo }[]
  readonly onTable: (table: string, rows: number) => void
  /** about once a second, and at the beginning of each table */
  readonly onRows: (progress: CopyProgress) => void
  /** ends the copy; nothing of it stays in the target, the slot is dropped by the next one */
  readonly signal?: AbortSignal
}

export interface CopyProgress {
  readonly table: string
  readonly rows: number
  /** by the monolith's statistics; 0 = they know nothing */
  readonly estimate: number
  /** the table's place among all, from 1 */
  readonly number: number
  readonly of: number
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
    if (options.replace === true) {
      const tables = options.tables.map((pair) => pair.target)
      await clearForCopy(target.sql, options.pipeline, tables)
    }
    for (const [at, pair] of options.tables.entries()) {
      const { rows: estimate } = await tableSize(source.sql, pair.source)
      const told = { estimate: Math.round(estimate), number: at + 1, of: options.tables.length }
      await using _watch = watchRows(options.target, target, (rows) =>
        options.onRows({ table: `${pair.target.schema}.${pair.target.name}`, rows, ...told }),
      )
      await copyTable(source.client, target, pair, options)
    }
    const { pipeline: name, sourceSystem, sourceTimeline, publication } = options
    const origin = { sourceSystem, sourceTimeline: sourceTimeline ?? null, publication: publication ?? null }
    const checkpoint = { pipeline: name, at: slot.consistentPoint, state: 'apply', ...origin } as const
    await (options.replace === true ? renewCheckpoint : createCheckpoint)(target.sql, checkpoint)
    await options.failpoint?.('sync.copy.before-commit')
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

/** Asks the server how far the COPY of that session is: it counts rows, we parse none. Nothing depends on the answer. */
function watchRows(options: DatabaseOptions, { client }: { client: pg.Client }, told: (rows: number) => void) {
  const stop = new AbortController()
  // the session that copies is busy
  const database = openDatabase({ ...options, connections: 1 })
  const pid = (client as unknown as { processID: number }).processID
  const watching = (async (): Promise<void> => {
    told(0)
    for (;;) {
      await pause(EVERY, stop.signal)
      const { rows } = await database.query<{ rows: number }>(
        `select tuples_processed::float8 as rows from pg_stat_progress_copy where pid = $1`,
        [pid],
      )
      if (rows[0] !== undefined && !stop.signal.aborted) told(rows[0].rows)
    }
  })().catch(() => undefined)
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      stop.abort()
      await watching
      await database[Symbol.asyncDispose]()
    },
  }
}

async function copyTable(
  source: pg.Client,
  target: { client: pg.Client; sql: Sql },
  pair: { source: TableInfo; target: TableInfo },
  { onTable, signal, replace }: Pick<CopyOptions, 'onTable' | 'signal' | 'replace'>,
): Promise<void> {
  signal?.throwIfAborted()
  const old = replace === true ? [] : (await target.sql.query(`select 1 from ${quoteTable(pair.target)} limit 1`)).rows
  const name = `${pair.target.schema}.${pair.target.name}`
  if (old.length > 0) throw new MigrateError('TARGET_NOT_EMPTY', { table: name, service: name })
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
