import pg from 'pg'
import { openPool } from '../../fixtures/servers/pool.ts'
import { startPostgres, type PostgresOptions, type PostgresServer } from '../../fixtures/servers/postgres.ts'
import { installEventing } from '../../src/index.ts'

/** A service's database with schema `eventing`, owned by an ordinary role. */
export interface Eventing extends AsyncDisposable {
  readonly server: PostgresServer
  readonly url: string
  readonly pool: pg.Pool
  /** as the superuser, in the same database */
  readonly admin: pg.Pool
  query<R extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<R[]>
}

export async function startEventing(options: PostgresOptions): Promise<Eventing> {
  const server = await startPostgres(options)
  const { user, password } = server.superuser
  const root = new pg.Client(server.url('postgres', user, password))
  await root.connect()
  await root.query(`create role service login password 'service'`)
  await root.query(`create database service owner service`)
  await root.end()
  const url = server.url('service', 'service', 'service')
  const pool = openPool(url, 40)
  await installEventing(pool)
  return connected(server, url, pool)
}

export function connected(server: PostgresServer, url: string, pool: pg.Pool): Eventing {
  const { user, password } = server.superuser
  const admin = openPool(server.url('service', user, password), 40)
  return {
    ...{ server, url, pool, admin },
    async query(text, values) {
      return (await pool.query(text, values)).rows
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([pool.end(), admin.end()])
      await server[Symbol.asyncDispose]()
    },
  }
}
