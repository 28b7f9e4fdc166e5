// A monolith's database and a service's on a server each, with tables made for being changed in every way, and workers
// of the compiled program between them: for tests that kill, freeze and crash.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startPrograms } from '../../fixtures/demo/programs.ts'
import type { Settings } from '../../fixtures/servers/postgres-cluster.ts'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { PAIR_TABLES, pairRoles, pairSchema } from './pair-schema.ts'
import { eventually } from './two-sides.ts'

export type Side = 'source' | 'target'

export interface PairOptions {
  /** each has a schema of its own name with the same tables */
  readonly services: readonly string[]
  readonly settings?: Partial<Record<Side, Settings>>
}

const DATABASE = 'pair'

export class Pair {
  readonly servers: Readonly<Record<Side, PostgresServer>>
  readonly config: string
  readonly #password: string
  readonly #programs: ReturnType<typeof startPrograms>
  readonly #stack: AsyncDisposableStack

  constructor(
    servers: Record<Side, PostgresServer>,
    secrets: { readonly password: string; readonly config: string },
    programs: ReturnType<typeof startPrograms>,
    stack: AsyncDisposableStack,
  ) {
    this.servers = servers
    this.config = secrets.config
    this.#password = secrets.password
    this.#programs = programs
    this.#stack = stack
  }

  /** as the superuser, or as the application that owns the tables */
  url(side: Side, who: 'superuser' | 'app' = 'superuser'): string {
    const server = this.servers[side]
    return who === 'superuser' ? server.url(DATABASE) : server.url(DATABASE, 'pair_app', this.#password)
  }

  /** A connection that survives nothing, as superuser; ended with the stack. */
  async client(side: Side): Promise<pg.Client> {
    const client = await connect(this.url(side))
    this.#stack.defer(() => client.end().catch(() => undefined))
    return client
  }

  async query<T extends pg.QueryResultRow>(side: Side, sql: string, values: unknown[] = []): Promise<T[]> {
    const client = await connect(this.url(side))
    try {
      return (await client.query<T>(sql, values)).rows
    } finally {
      await client.end()
    }
  }

  /** A worker of the service; with `ready` it has begun to follow. */
  startSync(service: string, env: NodeJS.ProcessEnv = {}, ready = true): Promise<RunningProcess> {
    const args = ['--config', this.config, '--json', 'sync', service]
    const pattern = ready ? /"event":"following","direction":"forward"/ : undefined
    return this.#programs.node(service, 'src/cli.js', args, { ...this.#programs.base, ...env }, pattern)
  }

  /** Copies the tables, applies what is committed now, and ends. */
  async syncOnce(service: string): Promise<void> {
    const args = ['--config', this.config, '--json', 'sync', service, '--once']
    await using running = await this.#programs.node(service, 'src/cli.js', args, this.#programs.base)
    const { code } = await running.exited
    if (code !== 0) throw new Error(`sync ${service} --once ended with ${code}: ${said(running)}`)
  }

  /** Waits until a change that is committed now on one side has been carried to the other, by a worker that lives. */
  async carried(service: string, worker: RunningProcess, from: Side = 'source'): Promise<void> {
    const to = from === 'source' ? 'target' : 'source'
    const sql = `insert into ${service}.counters values (0, 1) on conflict (writer) do update set n = counters.n + 1 returning n`
    const [marker] = await this.query<{ n: string }>(from, sql)
    const seen = async () =>
      (await this.query<{ n: string }>(to, `select n from ${service}.counters where writer = 0`))[0]?.n
    const ended = worker.exited.then(({ code, signal }) => {
      throw new Error(`the worker has ended with ${code ?? signal}: ${said(worker)}`)
    })
    await Promise.race([eventually(seen, (n) => n === marker?.n, 60_000), ended])
    // its end is the caller's business again
    ended.catch(() => undefined)
  }

  /** Count and md5 of all rows in their text form, by table. */
  async hashes(side: Side, service: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {}
    for (const [table, key] of Object.entries(PAIR_TABLES)) {
      const sql = `select count(*) || ' ' || coalesce(md5(string_agg(r::text, '|' order by ${key})), '') as hash from ${service}.${table} r`
      found[table] = (await this.query<{ hash: string }>(side, sql))[0]?.hash ?? ''
    }
    return found
  }

  /** Stops it as `pg_ctl stop -m immediate` does, and starts it again. */
  async crash(side: Side): Promise<void> {
    await this.servers[side].stop('immediate')
    await this.servers[side].restart()
  }
}

/** What a program has printed, for messages of tests. */
export function said({ stdout, stderr }: RunningProcess): string {
  return [...stdout.all().slice(-5), ...stderr.all().slice(-5)].join('\n')
}

/** Servers, databases, tables with rows, and the configuration; nothing is copied yet. */
export async function startPair(stack: AsyncDisposableStack, options: PairOptions): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), 'migrate-pair-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const password = randomBytes(12).toString('hex')
  const start = async (side: Side): Promise<PostgresServer> => {
    const server = stack.use(await startPostgres({ name: side, settings: options.settings?.[side] ?? {} }))
    await prepare(server, password, options.services, side === 'source')
    return server
  }
  const [source, target] = await Promise.all([start('source'), start('target')])
  const config = join(folder, 'migrate.yaml')
  const url = (server: PostgresServer): string => server.url(DATABASE, 'migrate_apply', password)
  await writeFile(config, configText(url(source), url(target), options.services))
  return new Pair({ source, target }, { password, config }, startPrograms(folder, stack), stack)
}

async function prepare(server: PostgresServer, password: string, services: readonly string[], rows: boolean) {
  const root = await connect(server.url('postgres'))
  await root.query(`create database ${DATABASE}`)
  await root.end()
  const client = await connect(server.url(DATABASE))
  await client.query(pairRoles(DATABASE, password))
  for (const service of services) await client.query(pairSchema(service, rows))
  await client.end()
}

/** JSON is YAML too. */
function configText(source: string, target: string, services: readonly string[]): string {
  const http = 'http://127.0.0.1:1'
  const service = (name: string) => ({
    http,
    tables: Object.keys(PAIR_TABLES).map((table) => `${name}.${table}`),
    stores: [{ kind: 'postgres', url: target }],
  })
  return JSON.stringify({
    project: 'pair',
    monolith: { database: source, http, role: 'pair_app' },
    services: Object.fromEntries(services.map((name) => [name, service(name)])),
  })
}

export async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: 'test', options: '-c timezone=UTC' })
  // servers crash in these tests; whoever uses the connection next gets the error
  client.on('error', () => undefined)
  await client.connect()
  return client
}
