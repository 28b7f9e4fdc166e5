import pg from 'pg'
import type { Database, Sql } from '../../model/sql.ts'
import { type Login, parseLogin } from './login.ts'
import { within } from '../../model/within.ts'
import { translate } from './translate.ts'

export interface DatabaseOptions {
  readonly url: string
  /** 'monolith', 'control' or the name of the service; used in messages */
  readonly role: string
  /** shown in pg_stat_activity, e.g. `migrate/cutover/users` */
  readonly applicationName: string
  readonly connections?: number
  /** statement_timeout of every statement, milliseconds; default 30 s */
  readonly statementTimeout?: number
  /** give a statement up, and its connection, when no answer has come for so long; default statementTimeout + 5 s */
  readonly answerTimeout?: number
  /** further settings of every session */
  readonly settings?: Readonly<Record<string, string>>
}

/** Opens a pool. Nothing is contacted before the first statement. Throws DATABASE_* errors, translated. */
export function openDatabase(options: DatabaseOptions): Database {
  const login = parseLogin(options.url, options.role)
  const pool = new pg.Pool({
    // a process that freezes inside a transaction must not hold its locks against the one that takes over
    ...clientConfig(login, {
      ...options,
      settings: { idle_in_transaction_session_timeout: '5s', ...options.settings },
    }),
    max: options.connections ?? 4,
    idleTimeoutMillis: 10_000,
    allowExitOnIdle: true,
  })
  // a lost idle connection is replaced by the pool; whoever needs it next gets the error
  pool.on('error', () => undefined)
  const clients = new Set<pg.PoolClient>()
  pool.on('connect', (client) => clients.add(client))
  pool.on('remove', (client) => clients.delete(client))

  async function query<R>(text: string, values: readonly unknown[] = []) {
    try {
      const result = await pool.query(text, values as unknown[])
      return { rows: result.rows as R[], rowCount: result.rowCount ?? 0 }
    } catch (error) {
      throw translate(error, login)
    }
  }

  async function transaction<T>(run: (sql: Sql) => Promise<T>): Promise<T> {
    const client = await pool.connect().catch((error: unknown) => {
      throw translate(error, login)
    })
    let broken = false
    try {
      await client.query('begin')
      const result = await run(sqlOf(client, login))
      await client.query('commit')
      return result
    } catch (thrown) {
      const error = translate(thrown, login)
      // without its connection a transaction is rolled back by itself; one that hangs would let us wait once more
      broken = error.code === 'DATABASE_UNREACHABLE'
      if (!broken) {
        await client.query('rollback').catch(() => {
          broken = true
        })
      }
      throw error
    } finally {
      client.release(broken)
    }
  }

  return {
    query,
    transaction,
    listen: (channel, notified) => listen(clientConfig(login, options), channel, notified),
    async [Symbol.asyncDispose]() {
      const ended = pool.end()
      await within(ended, GOODBYE_MS).catch(() => {
        for (const client of clients) cut(client)
      })
    },
  }
}

/** A server that does not answer is not waited for at the end, milliseconds. */
const GOODBYE_MS = 1_000
/** Beyond the limit of a statement, milliseconds; what the network and a busy machine may add. */
const SILENCE_MS = 5_000

function cut(client: pg.ClientBase): void {
  // not in the driver's types
  ;(client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
}

/** One connection of its own, for sessions with state. The caller ends it. */
export async function connect(options: DatabaseOptions): Promise<{ client: pg.Client; sql: Sql; login: Login }> {
  const login = parseLogin(options.url, options.role)
  const client = new pg.Client(clientConfig(login, options))
  // without a listener a lost connection ends the process; the next statement reports it
  client.on('error', () => undefined)
  try {
    await client.connect()
  } catch (error) {
    throw translate(error, login)
  }
  return { client, sql: sqlOf(client, login), login }
}

export function clientConfig(login: Login, options: DatabaseOptions): pg.ClientConfig {
  const limit = options.statementTimeout ?? 30_000
  const settings = {
    timezone: 'UTC',
    datestyle: 'ISO',
    intervalstyle: 'postgres',
    extra_float_digits: '1',
    bytea_output: 'hex',
    statement_timeout: String(limit),
    ...options.settings,
  }
  return {
    host: login.host,
    port: login.port,
    user: login.user,
    database: login.database,
    ...(login.password === undefined ? {} : { password: login.password }),
    ssl: login.ssl,
    application_name: options.applicationName,
    // the server ends a statement at its own limit; one that says nothing a while later has gone silent
    ...(limit > 0 && { query_timeout: options.answerTimeout ?? limit + SILENCE_MS }),
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(' '),
  }
}

function sqlOf(client: pg.ClientBase, login: Login): Sql {
  return {
    async query<R>(text: string, values: readonly unknown[] = []) {
      try {
        const result = await client.query(text, values as unknown[])
        return { rows: result.rows as R[], rowCount: result.rowCount ?? 0 }
      } catch (error) {
        throw translate(error, login)
      }
    },
  }
}

/** LISTEN on a connection of its own that is made again when it is lost. */
function listen(config: pg.ClientConfig, channel: string, notified: (payload: string) => void): AsyncDisposable {
  let stopped = false
  let client: pg.Client | null = null
  let timer: NodeJS.Timeout | undefined

  async function start(again: boolean): Promise<void> {
    if (stopped) return
    const next = new pg.Client(config)
    next.on('error', () => undefined)
    next.on('end', () => retry())
    next.on('notification', (message) => notified(message.payload ?? ''))
    client = next
    try {
      await next.connect()
      await next.query(`listen ${pg.escapeIdentifier(channel)}`)
    } catch {
      // 'end' may not come for a connection that never was; the poll of the caller bridges the gap
      retry()
      return
    }
    // whatever was notified while the connection was away is lost
    if (again) notified('')
  }

  function retry(): void {
    if (stopped || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      void start(true)
    }, 500)
    timer.unref()
  }

  const starting = start(false)
  return {
    async [Symbol.asyncDispose]() {
      stopped = true
      clearTimeout(timer)
      const last = client
      const ended = starting.then(() => client?.end())
      await within(ended, GOODBYE_MS).catch(() => last && cut(last))
    },
  }
}
