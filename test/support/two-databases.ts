// A monolith and a service with one pair of tables each, on one server, without a sync worker: what reconcile compares.
import pg from 'pg'
import type { PostgresServer } from '../../fixtures/servers/postgres.ts'
import { type App, installControl, openApp } from '../../src/app/open.ts'
import { reconcile, type ReconcileRequest } from '../../src/app/reconcile.ts'
import { configSchema } from '../../src/config/schema.ts'
import type { ServiceReport } from '../../src/reconcile/report.ts'

const SCHEMA = `
  create type kind as enum ('NEW', 'OLD');
  create table things (id bigint primary key, name text, amount numeric, note text, doc json, data jsonb, tags text[],
    kind kind not null default 'NEW', at timestamptz not null, f float8, twice bigint generated always as (id * 2) stored);
  create table prefs (user_id bigint, key text, value jsonb, primary key (user_id, key));
  insert into things (id, name, amount, note, doc, data, tags, at, f)
    select i * 3, 'name ' || i, i / 7.0, case when i % 2 = 0 then '' else null end, '{"a":1,"b":2}', '{"l":[1,2]}',
      array['x', 'y'], timestamptz '2026-01-01' + i * interval '1 second', random() from generate_series(1, ROWS) i;
  insert into prefs select i, k, to_jsonb(i) from generate_series(1, 500) i, unnest(array['a', 'B', 'é']) k;`

export class TwoDatabases implements AsyncDisposable {
  readonly monolith: pg.Client
  readonly service: pg.Client
  readonly app: App

  constructor(monolith: pg.Client, service: pg.Client, app: App) {
    this.monolith = monolith
    this.service = service
    this.app = app
  }

  async compare(options: Partial<ReconcileRequest> = {}): Promise<ServiceReport> {
    return reconcile(this.app, 'users', {
      ...{ tables: [], strict: false, offline: true, rangeRows: 700 },
      signal: new AbortController().signal,
      onRange: () => undefined,
      ...options,
    })
  }

  async both(sql: string): Promise<void> {
    await this.monolith.query(sql)
    await this.service.query(sql)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app[Symbol.asyncDispose]()
    await Promise.all([this.monolith.end(), this.service.end()])
  }
}

/** Two databases with equal rows; the service is at stage `sync`. */
export async function openTwoDatabases(
  server: PostgresServer,
  name: string,
  options: { readonly rows?: number; readonly tables?: readonly string[] } = {},
): Promise<TwoDatabases> {
  const { rows = 5_000, tables = ['things', 'prefs'] } = options
  const admin = await connect(server.url('postgres'))
  await admin.query(`create database ${name}_mono`)
  const monolith = await connect(server.url(`${name}_mono`))
  await monolith.query(SCHEMA.replace('ROWS', String(rows)))
  await monolith.end()
  await admin.query(`create database ${name}_svc template ${name}_mono`)
  await admin.end()
  const app = openApp(
    configSchema.parse({
      project: 'shop',
      monolith: { database: server.url(`${name}_mono`), http: 'http://127.0.0.1:1' },
      services: {
        users: {
          http: 'http://127.0.0.1:1',
          tables: [...tables],
          stores: [{ kind: 'postgres', url: server.url(`${name}_svc`) }],
        },
      },
    }),
    'test',
  )
  await installControl(app)
  await app.monolith.query(`select migrate.enrol('users')`)
  await app.control.query(`insert into migrate.service (service, stage) values ('users', 'sync')`)
  return new TwoDatabases(await connect(server.url(`${name}_mono`)), await connect(server.url(`${name}_svc`)), app)
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  return client
}
