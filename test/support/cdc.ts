// A source and a target database on one server, joined by a pipeline, for tests of the stream and the sink.
import pg from 'pg'
import { type PostgresOptions, type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import { installSchema } from '../../src/control/install.ts'
import { asLsn, type Lsn } from '../../src/model/lsn.ts'
import { type Direction, newCounters, type SyncCounters } from '../../src/model/progress.ts'
import type { Database } from '../../src/model/sql.ts'
import { readServer, readTable, type TableInfo } from '../../src/stores/postgres/catalogue.ts'
import { applicationName, claimCheckpoint, createCheckpoint } from '../../src/stores/postgres/checkpoint.ts'
import { openDatabase } from '../../src/stores/postgres/database.ts'
import { parseTableName } from '../../src/stores/postgres/identifier.ts'
import { openSink, type SinkOptions } from '../../src/stores/postgres/sink.ts'
import { freeSlot } from '../../src/stores/postgres/slot.ts'
import { openWalStream, type WalStreamOptions } from '../../src/stores/postgres/wal-stream.ts'
import type { ExtraRows } from '../../src/sync/extra-rows.ts'
import { type PipelineEnd, runPipeline } from '../../src/sync/pipeline.ts'
import type { Checkpoint, PipelineControl, PipelineReport, Sink, WalStream } from '../../src/sync/ports.ts'

import { memoryFile } from './raw.ts'

export const PIPELINE = 'shop_users/forward'
export const SLOT = 'migrate_shop_users'

export interface Cdc extends AsyncDisposable {
  readonly server: PostgresServer
  readonly source: pg.Client
  readonly target: pg.Client
  readonly sourceDb: Database
  readonly targetDb: Database
  readonly sourceUrl: string
  readonly targetUrl: string
  /** runs on both sides */
  both(sql: string): Promise<void>
  client(url: string, settings?: pg.ClientConfig): Promise<pg.Client>
}

/** Disposing ends every client that was opened here, and the server. */
export async function openCdc(options: Partial<PostgresOptions> = {}): Promise<Cdc> {
  const stack = new AsyncDisposableStack()
  const server = stack.use(await startPostgres({ name: 'cdc', ...options }))
  const client = async (url: string, settings: pg.ClientConfig = {}): Promise<pg.Client> => {
    const opened = new pg.Client({ connectionString: url, options: '-c timezone=UTC', ...settings })
    // some tests end sessions on purpose
    opened.on('error', () => undefined)
    await opened.connect()
    stack.defer(() => opened.end())
    return opened
  }
  const root = await client(server.url('postgres'))
  for (const name of ['source', 'target']) await root.query(`create database ${name}`)
  const [sourceUrl, targetUrl] = [server.url('source'), server.url('target')]
  const open = (url: string, role: string) =>
    stack.use(openDatabase({ url, role, applicationName: `migrate/test ${role}` }))
  const [sourceDb, targetDb] = [open(sourceUrl, 'monolith'), open(targetUrl, 'users')]
  await installSchema(targetDb, ['target', 'service'])
  const [source, target] = [await client(sourceUrl), await client(targetUrl)]
  return {
    ...{ server, source, target, sourceDb, targetDb, sourceUrl, targetUrl, client },
    async both(sql) {
      await source.query(sql)
      await target.query(sql)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Publication, slot and checkpoint; what is committed from here on is followed. Replaces an earlier one. */
export async function publishTables(cdc: Cdc, tables: readonly string[]): Promise<void> {
  const { source, target } = cdc
  await source.query(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`, [
    SLOT,
  ])
  await source.query(`drop publication if exists p`)
  await source.query(`create publication p for table ${tables.join(', ')}`)
  const { rows } = await source.query(
    `select lsn - '0/0' as at from pg_create_logical_replication_slot($1, 'pgoutput')`,
    [SLOT],
  )
  await target.query(`delete from migrate.checkpoint`)
  const { systemIdentifier: sourceSystem } = await readServer(cdc.sourceDb)
  await createCheckpoint(cdc.targetDb, {
    pipeline: PIPELINE,
    state: 'apply',
    at: asLsn(BigInt(rows[0].at)),
    sourceSystem,
  })
}

export async function openStream(cdc: Cdc, from: Lsn, more: Partial<WalStreamOptions> = {}): Promise<WalStream> {
  const { version, walSenderTimeout } = await readServer(cdc.sourceDb)
  const stream = await openWalStream({
    ...{ url: cdc.sourceUrl, role: 'monolith', applicationName: `${applicationName(PIPELINE)}/stream`, slot: SLOT },
    ...{ publication: 'p', from, serverVersion: version, walSenderTimeout, ...more },
  })
  return {
    blocks: () => stream.blocks(),
    // whoever still reads it gets nonsense
    recycle: (bytes) => stream.recycle(bytes.fill(0xdd)),
    acknowledge: (lsn) => stream.acknowledge(lsn),
    askPosition: () => stream.askPosition(),
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  }
}

export async function tableInfos(database: Database, tables: readonly string[]): Promise<TableInfo[]> {
  return Promise.all(tables.map(async (table) => (await readTable(database, parseTableName(table))) as TableInfo))
}

/** Claims the checkpoint and opens a sink on it. */
export async function openTestSink(
  cdc: Cdc,
  tables: readonly string[],
  more: Partial<SinkOptions> = {},
): Promise<{ sink: Sink; claim: Checkpoint }> {
  const claim = await claimCheckpoint(cdc.targetDb, PIPELINE, () => Promise.resolve('wait'))
  if (claim === null) throw new Error('the pipeline is sealed')
  const sink = await openSink({
    ...{ url: cdc.targetUrl, role: 'users', database: cdc.targetDb, service: 'users', direction: 'forward' },
    ...{ pipeline: PIPELINE, epoch: claim.epoch, tables: await tableInfos(cdc.targetDb, tables), ...more },
  })
  return { sink, claim }
}

export interface Legs {
  open: string[]
  readonly revoked: string[]
}

export interface RunOptions {
  readonly until?: Lsn
  readonly direction?: Direction
  readonly legs?: Legs
  readonly failpoint?: (name: string) => Promise<void>
  readonly signal?: AbortSignal
  readonly report?: (report: PipelineReport) => void
  readonly sink?: (sink: Sink) => Sink
  readonly control?: Partial<PipelineControl>
  readonly extraRows?: ExtraRows
}

export interface RunningPipeline {
  readonly ended: Promise<PipelineEnd>
  readonly counters: SyncCounters
}

/** Starts a worker on these tables. */
export async function startPipeline(
  cdc: Cdc,
  tables: readonly string[],
  options: RunOptions = {},
): Promise<RunningPipeline> {
  const { sink, claim } = await openTestSink(cdc, tables, { direction: options.direction ?? 'forward' })
  await freeSlot(cdc.sourceDb, SLOT)
  const stream = await openStream(cdc, claim.commitLsn)
  const counters = newCounters()
  const run = async (): Promise<PipelineEnd> => {
    await using closing = sink
    return await runPipeline({
      ...{ service: 'users', direction: options.direction ?? 'forward', stream, counters },
      sink: options.sink?.(closing) ?? closing,
      openSpool: memoryFile,
      control: { ...memoryControl(options.legs, options.report), ...options.control },
      failpoint: options.failpoint ?? (() => Promise.resolve()),
      signal: options.signal ?? new AbortController().signal,
      extraRows: options.extraRows,
      ...(options.until === undefined ? {} : { until: options.until }),
    })
  }
  const ended = run()
  // whoever awaits it gets the error; until then it is not unhandled
  ended.catch(() => undefined)
  return { ended, counters }
}

/** Applies everything that is committed now. */
export async function catchUp(cdc: Cdc, tables: readonly string[], options: RunOptions = {}): Promise<SyncCounters> {
  const { ended, counters } = await startPipeline(cdc, tables, { ...options, until: await endOfLog(cdc.source) })
  await ended
  return counters
}

/** A position behind everything committed so far that the server is sure to reach: there is a commit behind it. */
export async function endOfLog(source: pg.Client): Promise<Lsn> {
  const { rows } = await source.query(`select pg_current_wal_insert_lsn() - '0/0' as at`)
  await source.query(`select pg_logical_emit_message(true, 'test', 'end of log')`)
  return asLsn(BigInt(rows[0].at))
}

function memoryControl(
  legs: Legs = { open: [], revoked: [] },
  report?: (report: PipelineReport) => void,
): PipelineControl {
  return {
    openLegs: () => Promise.resolve([...legs.open]),
    legsRevoked(keys) {
      legs.revoked.push(...keys)
      legs.open = legs.open.filter((key) => !keys.includes(key))
      return Promise.resolve()
    },
    publish(said) {
      report?.(said)
      return Promise.resolve()
    },
  }
}

/** All rows as the server prints them. */
export async function rowsOf(client: pg.Client, table: string): Promise<string[]> {
  const { rows } = await client.query(`select whole_row::text as row from ${table} whole_row order by 1`)
  return rows.map(({ row }) => row as string)
}
