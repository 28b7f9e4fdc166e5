import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { createDatabase } from '../../fixtures/servers/database.ts'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import { postgresBinaries } from '../../fixtures/servers/postgres-binaries.ts'
import type { Settings } from '../../fixtures/servers/postgres-cluster.ts'
import { type RunningProcess, startProcess } from '../../fixtures/servers/process.ts'
import { watch } from '../../fixtures/servers/watch.ts'
import type { Workload } from './workloads.ts'

export const SERVICE = 'accounts'
/** of `migrate sync`, by the configuration below: its slot, and its publication, which the peers read too */
export const OURS = 'migrate_bench_accounts'
const CLI = join(import.meta.dirname, '../../dist/src/cli.js')

/** Two servers of Debian's PostgreSQL 15: the source, and one with a database for us and one for native replication. */
export interface Bed extends AsyncDisposable {
  readonly workload: Workload
  readonly folder: string
  readonly source: PostgresServer
  readonly target: PostgresServer
  /** a superuser's session in the source's database */
  readonly sql: pg.Client
  /** a superuser's session in the target's maintenance database */
  readonly admin: pg.Client
  /** one statement in a database of the target */
  onTarget<T extends pg.QueryResultRow>(database: Side, sql: string): Promise<T[]>
  /** starts the built command line */
  migrate(args: readonly string[], node?: readonly string[]): Promise<RunningProcess>
  /** starts a program of PostgreSQL against the source's database; `hasty` = its commits do not wait for the disk */
  program(name: string, args: readonly string[], how?: { cpu?: number; hasty?: boolean }): Promise<RunningProcess>
  /** Waits for the end; rejects unless it ended well. */
  ran(started: Promise<RunningProcess>): Promise<RunningProcess>
}

export type Side = 'ours' | 'native'
export const SIDES: readonly Side[] = ['ours', 'native']

/** The same on both servers, whoever applies. Vacuum and checkpoints come when a run is over, not in some of them. */
const SETTINGS: Settings = {
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
  max_slot_wal_keep_size: '24GB',
  // A subscription that is enabled again would wait for 5 s since its last start.
  wal_retrieve_retry_interval: '50ms',
}

/** Disposing stops the servers and removes the folders; so does the end of this process, ^C included. */
export async function openBed(
  workload: Workload,
  { settings = {}, cpu }: { settings?: Settings; cpu?: number } = {},
): Promise<Bed> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'migrate-bench-'))
  const watching = watch({ folders: [folder], signals: [], group: false })
  stack.defer(async () => {
    await rm(folder, { recursive: true, force: true })
    await watching.release()
  })
  const start = (name: string, more: { cpu?: number } = {}): Promise<PostgresServer> =>
    startPostgres({ name: `bench-${name}`, version: '15', settings: { ...SETTINGS, ...settings }, ...more })
  const source = stack.use(await start('source', cpu === undefined ? {} : { cpu }))
  const target = stack.use(await start('target'))
  const monolith = await createDatabase(source, recipe('bench', workload))
  const ours = await createDatabase(target, recipe('ours', { ...workload, fill: '' }))
  await createDatabase(target, recipe('native', workload))
  await writeFile(join(folder, 'migrate.yaml'), config(workload.tables))
  const sql = await open(source.url('bench'))
  stack.defer(() => sql.end())
  const admin = await open(target.url('postgres'))
  stack.defer(() => admin.end())
  // what is loaded is measured, not how: nobody waits for the source's disk
  await sql.query('set synchronous_commit = off')
  const urls = { MONOLITH_DATABASE_URL: monolith.apply, SERVICE_DATABASE_URL: ours.apply }
  const programs = startersOf({ folder, source, bin: join(await postgresBinaries('15'), 'bin'), urls })
  const opened = stack.move()
  return {
    ...{ workload, folder, source, target, sql, admin, ran, ...programs },
    onTarget: (database, text) => once(target.url(database), text),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

interface Programs {
  readonly folder: string
  readonly source: PostgresServer
  readonly bin: string
  readonly urls: NodeJS.ProcessEnv
}

function startersOf({ folder, source, bin, urls }: Programs): Pick<Bed, 'migrate' | 'program'> {
  return {
    migrate: (args, node = []) =>
      startProcess({
        ...{ name: 'migrate', command: process.execPath, args: [...node, CLI, ...args], cwd: folder },
        ...{ env: { PATH: process.env.PATH, ...urls }, log: join(folder, 'migrate.log') },
      }),
    program: (name, args, { cpu, hasty = false } = {}) =>
      startProcess({
        ...{ name, command: join(bin, name), args, log: join(folder, `${name}.log`) },
        env: { ...clientEnv(source), ...(hasty && { PGOPTIONS: '-c synchronous_commit=off' }) },
        ...(cpu !== undefined && { cpu }),
      }),
  }
}

async function once<T extends pg.QueryResultRow>(url: string, text: string): Promise<T[]> {
  const client = await open(url)
  try {
    return (await client.query<T>(text)).rows
  } finally {
    await client.end()
  }
}

function recipe(database: string, { schema, fill }: Pick<Workload, 'schema' | 'fill'>) {
  const roles = new URL('../../fixtures/monolith/roles.sql', import.meta.url)
  return {
    ...{ database, app: 'shop_app', owner: 'shop_owner', roles, schema },
    async fill(client: { query(sql: string): Promise<unknown> }) {
      if (fill !== '') await client.query(fill)
    },
  }
}

function config(tables: readonly string[]): string {
  return `project: bench
monolith: { database: "\${MONOLITH_DATABASE_URL}", http: "http://127.0.0.1:1", role: shop_app }
services:
  ${SERVICE}:
    http: "http://127.0.0.1:1"
    tables: [${tables.join(', ')}]
    stores: [{ kind: postgres, url: "\${SERVICE_DATABASE_URL}" }]
`
}

/** For programs on libpq: a password in an argument could be read by everybody. */
function clientEnv({ port, superuser }: PostgresServer): NodeJS.ProcessEnv {
  const { user, password } = superuser
  return { PGHOST: '127.0.0.1', PGPORT: String(port), PGDATABASE: 'bench', PGUSER: user, PGPASSWORD: password }
}

export async function open(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: 'bench' })
  await client.connect()
  return client
}

async function ran(started: Promise<RunningProcess>): Promise<RunningProcess> {
  await using running = await started
  const { code, signal } = await running.exited
  if (code === 0) return running
  const said = [...running.stdout.all(), ...running.stderr.all()].slice(-20).join('\n')
  throw new Error(`${running.name} ended with ${code ?? signal}:\n${said}`)
}
