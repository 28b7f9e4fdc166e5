import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createShopDatabase, dropCrossingForeignKeys } from '../../../fixtures/monolith/database.ts'
import type { FixtureDatabase } from '../../../fixtures/servers/database.ts'
import { type PostgresServer, startPostgres } from '../../../fixtures/servers/postgres.ts'
import { createUsersDatabase } from '../../../fixtures/services/users/database.ts'
import type { Database } from '../../model/sql.ts'
import { DEFECTS } from '../../../test/support/defects.ts'
import { startPooler } from '../../../test/support/pooler.ts'
import { openDatabase } from './database.ts'
import { type Finding, type PreflightOptions, preflight } from './preflight.ts'

const TABLES = ['users', 'user_preferences']

let servers: Record<'monolith' | 'users' | 'bare', PostgresServer>
let shop: FixtureDatabase
let users: FixtureDatabase
let monolith: Client
let service: Client
const pools = new Map<string, Database>()
const stack = new AsyncDisposableStack()

beforeAll(async () => {
  const bare = {
    wal_level: 'replica',
    max_wal_senders: 1,
    max_replication_slots: 0,
    max_slot_wal_keep_size: -1,
    hot_standby: 'on',
  }
  const [a, b, c] = await Promise.all([
    startPostgres({ name: 'monolith' }),
    startPostgres({ name: 'users' }),
    startPostgres({ name: 'bare', settings: bare }),
  ])
  servers = { monolith: a, users: b, bare: c }
  for (const server of [a, b, c]) stack.use(server)
  ;[shop, users] = await Promise.all([createShopDatabase(a), createUsersDatabase(b)])
  monolith = await clientOf(shop.superuser)
  service = await clientOf(users.superuser)
  await dropCrossingForeignKeys(monolith, 'users')
})
afterAll(() => stack.disposeAsync())

test('the clean shop has nothing but its identity column', async () => {
  const found = await findings()
  expect(found.map(({ check, severity, side, message }) => [check, severity, side, message])).toEqual([
    ['identity-columns', 'info', 'users', 'public.users.id is an identity that is always generated'],
  ])
})

test.each(DEFECTS.map((defect) => [`${defect.check}: ${defect.says}`, defect] as const))(
  'finds %s, once and nothing else',
  async (_, { check, says, severity = 'error', undo, mends, ...defect }) => {
    await using _undo = {
      async [Symbol.asyncDispose]() {
        if (undo.monolith !== undefined) await monolith.query(undo.monolith)
        if (undo.service !== undefined) await service.query(undo.service)
      },
    }
    if (defect.monolith !== undefined) await monolith.query(defect.monolith)
    if (defect.service !== undefined) await service.query(defect.service)
    const look = async () => {
      const found = await findings({ tables: [...TABLES, ...(defect.tables ?? [])], ...defect.options })
      return found.filter((finding) => finding.check !== 'identity-columns')
    }
    const found = await look()
    expect(found.map((finding) => [finding.check, finding.severity])).toEqual([[check, severity]])
    expect(`${found[0]?.message} (${found[0]?.measured})`).toContain(says)
    if (mends !== true) return
    for (const statement of found[0]?.sql ?? []) await clientFor(found[0]?.side).query(statement)
    expect(await look()).toEqual([])
  },
)

describe('who is connected', () => {
  test('finds an application that logs in as migrate does', async () => {
    await using _client = await opened(shop.apply, 'the-shop')
    expect(await ids()).toEqual(['apply-role'])
  })

  test('finds a superuser, and the SQL makes a role that is enough', async () => {
    const found = await findings({ monolith: sideOf(shop.superuser, 'monolith') })
    expect(found.find(({ check }) => check === 'superuser')?.fix).toContain('grant shop_owner to "migrate_apply"')
    expect(found.filter(isBad).map(({ check, severity }) => [check, severity])).toEqual([['superuser', 'warning']])
    await monolith.query('create role temporary; grant migrate_apply to temporary')
    await monolith.query('drop role temporary; drop owned by migrate_apply')
    await monolith.query('revoke shop_owner, pg_monitor, pg_signal_backend from migrate_apply')
    expect(await ids()).toEqual(['session-replication-role', ...Array(4).fill('privileges'), 'ownership'])
    for (const statement of found.find(({ check }) => check === 'superuser')?.sql ?? []) await monolith.query(statement)
    expect(await ids()).toEqual([])
  })

  test('never grants a superuser', async () => {
    await monolith.query('alter table users owner to postgres')
    const found = await findings({ monolith: sideOf(shop.superuser, 'monolith') })
    await monolith.query('alter table users owner to shop_owner')
    expect(found.map(({ fix }) => fix).join()).not.toContain('grant postgres')
  })

  test('finds a transaction that has been open for too long', async () => {
    await using client = await opened(shop.app, 'the-shop')
    // longer than a statement of ours may take on a busy machine
    await client.query('begin; select pg_sleep(3)')
    expect(await ids({ longTransactionSeconds: 3 })).toEqual(['long-transactions'])
    expect(await ids()).toEqual([])
  })

  test("finds that the service's database is the monolith's", async () => {
    expect(await ids({ target: sideOf(shop.apply, 'users') })).toEqual(['same-database'])
  })

  test('finds a pooler, by the process that greets and the one that answers', async () => {
    await using pooler = await startPooler(servers.monolith.port, 'greets')
    expect(await ids({ monolith: sideOf(shop.apply.replace(/:\d+\//, `:${pooler.port}/`), 'monolith') })).toEqual([
      'pooler',
    ])
  })

  test('finds a pooler that refuses the settings of our sessions', async () => {
    await using pooler = await startPooler(servers.monolith.port, 'refuses')
    expect(await ids({ monolith: sideOf(shop.apply.replace(/:\d+\//, `:${pooler.port}/`), 'monolith') })).toEqual([
      'pooler',
    ])
  })
})

test('does not ask for another slot when the service has its own already', async () => {
  await monolith.query(`select pg_create_physical_replication_slot('filler_' || n) from generate_series(1, 19) n`)
  await using _undo = {
    [Symbol.asyncDispose]: async () =>
      void (await monolith.query('select pg_drop_replication_slot(slot_name) from pg_replication_slots')),
  }
  const slotFound = async () => (await ids()).includes('slots')
  expect(await slotFound()).toBe(false)
  await monolith.query(`select pg_create_logical_replication_slot('migrate_shop_orders', 'pgoutput')`)
  expect(await slotFound()).toBe(true)
  await monolith.query(`select pg_drop_replication_slot('migrate_shop_orders')`)
  await monolith.query(`select pg_create_logical_replication_slot('migrate_shop_users', 'pgoutput')`)
  expect(await slotFound()).toBe(false)
})

test('finds a server that is not made for it, and a standby', async () => {
  const bare = await createShopDatabase(servers.bare)
  const options = { monolith: sideOf(bare.apply, 'monolith') }
  const superuser = await clientOf(bare.superuser)
  await dropCrossingForeignKeys(superuser, 'users')
  expect(await ids(options)).toEqual(['wal-level', 'slots', 'senders', 'wal-cap'])
  await superuser.query(`alter system set max_slot_wal_keep_size = '100MB'`)
  await superuser.end()
  await writeFile(join(servers.bare.folder, 'data', 'standby.signal'), '')
  await servers.bare.restart()
  const found = await findings(options)
  expect(found.filter(isBad).map(({ check, severity }) => [check, severity])).toEqual([
    ['standby', 'error'],
    ['wal-level', 'error'],
    ['slots', 'error'],
    ['senders', 'error'],
    ['wal-cap', 'warning'],
  ])
})

async function ids(options: Partial<PreflightOptions> = {}): Promise<string[]> {
  return (await findings(options)).filter(isBad).map(({ check }) => check)
}

function isBad({ severity }: Finding): boolean {
  return severity !== 'info'
}

async function findings(options: Partial<PreflightOptions> = {}): Promise<readonly Finding[]> {
  const result = await preflight({
    service: 'users',
    monolith: sideOf(shop.apply, 'monolith'),
    target: sideOf(users.apply, 'users'),
    tables: TABLES,
    monolithRole: 'shop_app',
    serviceSlots: ['migrate_shop_users'],
    ownSlots: ['migrate_shop_users', 'migrate_shop_orders'],
    ...options,
  })
  return result.findings
}

function sideOf(url: string, role: string) {
  const connection = { url, role, applicationName: 'migrate/test' }
  let sql = pools.get(url)
  if (sql === undefined) {
    sql = stack.use(openDatabase({ ...connection, settings: { default_transaction_read_only: 'on' } }))
    pools.set(url, sql)
  }
  return { sql, connection }
}

function clientFor(side: string | undefined): Client {
  return side === 'monolith' ? monolith : service
}

async function clientOf(connectionString: string): Promise<Client> {
  const client = new Client({ connectionString, application_name: 'migrate/test' })
  client.on('error', () => undefined)
  await client.connect()
  stack.defer(() => client.end().catch(() => undefined))
  return client
}

async function opened(connectionString: string, name: string) {
  const client = new Client({ connectionString, application_name: name })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}
