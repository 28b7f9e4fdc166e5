import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createShopDatabase } from '../../fixtures/monolith/database.ts'
import type { FixtureDatabase } from '../../fixtures/servers/database.ts'
import { runPsqlScript } from '../../fixtures/servers/psql-script.ts'
import { startPostgres } from '../../fixtures/servers/postgres.ts'
import { createUsersDatabase } from '../../fixtures/services/users/database.ts'

const CLI = join(import.meta.dirname, '../../dist/src/cli.js')
const NOWHERE = 'postgres://me:hunter2@127.0.0.1:1/shop'

const stack = new AsyncDisposableStack()
let root: string
let shop: FixtureDatabase
let users: FixtureDatabase
let monolith: Client
let service: Client

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'migrate-init-'))
  stack.defer(() => rmSync(root, { recursive: true }))
  const [a, b] = await Promise.all([startPostgres({ name: 'monolith' }), startPostgres({ name: 'users' })])
  stack.use(a)
  stack.use(b)
  ;[shop, users] = await Promise.all([createShopDatabase(a, { size: 'small' }), createUsersDatabase(b)])
  monolith = await clientOf(shop.superuser)
  service = await clientOf(users.superuser)
  await monolith.query('create table audit_log (line text); alter table audit_log owner to shop_owner')
})
afterAll(() => stack.disposeAsync())

describe('migrate init', () => {
  test('writes a configuration that is valid once the variables are set', async () => {
    const folder = newFolder({ '.gitignore': 'dist/\n' })
    const { code, stdout, stderr } = await migrate(folder, ['init', '--from', shop.apply])
    expect([code, stderr]).toEqual([0, expect.stringContaining('visible to every user of this machine')])
    expect(stdout).toContain('✔ wrote .gitignore, migrate.schema.json, .env.example, migrate.yaml')
    expect(stdout).toContain('without a primary key, so not to be synced: audit_log')

    const files = contents(folder)
    expect(Object.keys(files)).toEqual(['.env.example', '.gitignore', 'migrate.schema.json', 'migrate.yaml'])
    expect(files['.gitignore']).toBe('dist/\n.env\n')
    expect(files['migrate.yaml']).toMatch(/^# yaml-language-server: \$schema=\.\/migrate\.schema\.json\n/)
    expect(files['migrate.yaml']).toContain('#   orders_user_id_fkey: orders → users\n')
    expect(files['migrate.yaml']).toMatch(/#   audit_log {2}.*no primary key/)
    expect(JSON.parse(files['migrate.schema.json'] ?? '')).toHaveProperty('properties.services')
    expect(Object.values(files).join()).not.toContain(new URL(shop.apply).password)

    writeFileSync(join(folder, '.env'), files['.env.example'] ?? '')
    const valid = await migrate(folder, ['config', 'validate', '--env-file', '.env', '--json'])
    expect(valid.code).toBe(0)
    const { services } = JSON.parse(valid.stdout).data
    expect(
      Object.fromEntries(services.map((one: { name: string; tables: string[] }) => [one.name, one.tables])),
    ).toEqual({
      users: ['users', 'user_preferences'],
      products: ['products', 'product_images', 'product_variants'],
      orders: ['orders', 'coupons', 'order_items'],
      payments: ['payments'],
      inventory: ['inventory', 'inventory_transactions'],
    })
  })

  test('takes the services that it is given, from the variable, and answers in JSON', async () => {
    const folder = newFolder()
    const { code, stdout, stderr } = await migrate(
      folder,
      ['init', '--service', 'people=users,public.user_preferences', '--json'],
      { MONOLITH_DATABASE_URL: shop.apply },
    )
    expect([code, stderr]).toEqual([0, ''])
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'migrate.init/1',
      ok: true,
      data: {
        files: ['migrate.schema.json', '.env.example', 'migrate.yaml'],
        services: [{ name: 'people', tables: ['users', 'user_preferences'] }],
        crossing: [{ from: 'orders', to: 'users' }, { name: 'payments_user_id_fkey' }],
        withoutPrimaryKey: ['audit_log'],
      },
    })
    expect(Object.keys(contents(folder))).toEqual(['.env.example', 'migrate.schema.json', 'migrate.yaml'])
  })

  test.each(['migrate.yaml', '.env.example', 'migrate.schema.json'])(
    'never overwrites %s, and finds out before it contacts anything',
    async (name) => {
      const folder = newFolder({ [name]: 'mine', '.gitignore': '' })
      const { code, stdout, stderr } = await migrate(folder, ['init'], { MONOLITH_DATABASE_URL: NOWHERE })
      expect([code, stdout]).toEqual([4, ''])
      expect(stderr).toContain(`✖ FILE_EXISTS  ${name} is there already, and nothing was written`)
      expect(contents(folder)).toEqual({ [name]: 'mine', '.gitignore': '' })
    },
  )

  test.each([
    [['init'], {}, 2, '--from is missing, and the variable MONOLITH_DATABASE_URL is not set'],
    [['init', '--from', 'mysql://me:hunter2@db/shop'], {}, 2, '--from is not a postgres URL'],
    [['init', '--service', 'A=b'], { MONOLITH_DATABASE_URL: NOWHERE }, 2, 'is not NAME=table,table'],
    [['init', '--service', 'a=b', '--service', 'c=b'], { MONOLITH_DATABASE_URL: NOWHERE }, 2, 'belongs to a'],
    [['init'], { MONOLITH_DATABASE_URL: NOWHERE }, 7, 'cannot connect to the monolith database at 127.0.0.1:1/shop'],
  ])('%j with %j is refused and writes nothing', async (args, env, code, message) => {
    const folder = newFolder()
    const result = await migrate(folder, args, env as Record<string, string>)
    expect([result.code, result.stdout]).toEqual([code, ''])
    expect(result.stderr).toContain(message)
    expect(result.stderr).not.toContain('hunter2')
    expect(contents(folder)).toEqual({})
  })

  test('names the nearest table', async () => {
    const folder = newFolder()
    const env = { MONOLITH_DATABASE_URL: shop.apply }
    const { code, stderr } = await migrate(folder, ['init', '--service', 'users=usres'], env)
    expect([code, stderr]).toEqual([3, expect.stringContaining('no table "usres". Did you mean "users"?')])
    expect(contents(folder)).toEqual({})
  })

  test('says so when no table could move', async () => {
    await using empty = await createdDatabase('nothing')
    const folder = newFolder()
    const { code, stderr } = await migrate(folder, ['init'], { MONOLITH_DATABASE_URL: empty.url })
    expect([code, stderr]).toEqual([3, expect.stringContaining('✖ NOTHING_TO_MOVE')])
  })
})

describe('migrate check', () => {
  test('is content with the shop but for its crossing foreign keys, and so is sync', async () => {
    const folder = checkFolder()
    const { code, stdout, stderr } = await migrate(folder, ['check', 'users'], urls())
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/⚠ warning {2}foreign-keys {2}orders_user_id_fkey goes from orders to users/)
    expect(stdout).toMatch(/\n {6}Why: .*\n {6}Do: {2}Before the cutover: alter table orders drop constraint/)
    expect(stdout).toMatch(/✔ ready to be synced: \d+ checks, 2 warning\(s\)\n\nNext:\n {2}migrate sync users /)
  })

  test('prints a script that removes what it finds, in the database that it belongs to', async () => {
    const folder = checkFolder()
    await monolith.query('alter table users replica identity nothing; alter role migrate_apply noreplication')
    await service.query('revoke set on parameter session_replication_role from migrate_apply')
    const found = await migrate(folder, ['check', '--json'], urls())
    expect(found.code).toBe(3)
    const answer = JSON.parse(found.stdout)
    expect(answer).toMatchObject({ schema: 'migrate.check/1', ok: false, status: 'findings' })
    const errors = answer.issues.filter(({ severity }: { severity: string }) => severity === 'error')
    expect(errors.map(({ code }: { code: string }) => code)).toEqual([
      'replication',
      'replica-identity',
      'session-replication-role',
    ])
    const text = await migrate(folder, ['check'], urls())
    expect(text.stdout).toContain('✖ not ready: 3 error(s), 2 warning(s)')

    const { code, stdout: script } = await migrate(folder, ['check', '--fix-sql'], urls())
    expect(code).toBe(3)
    expect(script).not.toContain('Next:')
    expect(await runPsqlScript(script, monolith)).toEqual(['not the database of users: skipped'])
    expect(await runPsqlScript(script, service)).toEqual(['not the database of monolith: skipped'])
    expect((await migrate(folder, ['check'], urls())).code).toBe(0)
  })

  test('says which database cannot be reached, and which service is unknown', async () => {
    const folder = checkFolder()
    const away = await migrate(folder, ['check'], { ...urls(), USERS: NOWHERE })
    expect([away.code, away.stderr]).toEqual([7, expect.stringContaining('the users database at 127.0.0.1:1/shop')])
    const unknown = await migrate(folder, ['check', 'user'], urls())
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('Did you mean "users"?')])
  })

  test('writes nothing into either database', async () => {
    const before = await Promise.all([monolith, service].map(relations))
    await migrate(checkFolder(), ['check'], urls())
    expect(await Promise.all([monolith, service].map(relations))).toEqual(before)
  })

  test('leaves sync to go on with warnings, and stops it at an error', async () => {
    const folder = checkFolder()
    await monolith.query('alter table users replica identity full')
    const refused = await migrate(folder, ['sync', 'users', '--once'], urls())
    expect([refused.code, refused.stdout]).toEqual([3, expect.stringContaining('nothing has changed: 1 finding(s)')])
    await monolith.query('alter table users replica identity default')
    const synced = await migrate(folder, ['sync', 'users', '--once'], urls())
    expect([synced.code, synced.stdout]).toEqual([0, expect.stringContaining('✔ users holds what the monolith')])
  })
})

describe('migrate config show', () => {
  test('says where each value comes from, and no password', async () => {
    const folder = checkFolder()
    const { code, stdout, stderr } = await migrate(folder, ['config', 'show', '--origin'], urls())
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^monolith\.database +postgres:\/\/migrate_apply@\S+ +variable MONOLITH, migrate\.yaml:2:/m)
    expect(stdout).toMatch(/^router\.listen\.port +8080 +default$/m)
    expect(stdout).not.toContain(new URL(shop.apply).password)
    const json = await migrate(folder, ['config', 'show', '--json'], urls())
    expect(JSON.parse(json.stdout).data.values).toContainEqual({ key: 'project', value: 'shop' })
  })
})

const CONFIG = `project: shop
monolith: { database: "\${MONOLITH}", http: http://127.0.0.1:3000, role: shop_app }
services:
  users:
    http: http://127.0.0.1:3001
    tables: [users, user_preferences]
    stores: [{ kind: postgres, url: "\${USERS}" }]
`

function urls() {
  return { MONOLITH: shop.apply, USERS: users.apply }
}

function checkFolder(): string {
  return newFolder({ 'migrate.yaml': CONFIG })
}

function newFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(root, 'project-'))
  mkdirSync(folder, { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

function contents(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder)
      .toSorted()
      .map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  )
}

async function relations(client: Client): Promise<unknown> {
  return (await client.query(`select oid, relname, xmin from pg_class where relpersistence <> 't' order by 1`)).rows
}

async function clientOf(connectionString: string): Promise<Client> {
  const client = new Client({ connectionString, application_name: 'migrate/test' })
  client.on('error', () => undefined)
  await client.connect()
  stack.defer(() => client.end())
  return client
}

async function createdDatabase(name: string) {
  await monolith.query(`create database ${name}`)
  const url = shop.superuser.replace(/\/shop$/, `/${name}`)
  return { url, [Symbol.asyncDispose]: async () => void (await monolith.query(`drop database ${name} with (force)`)) }
}

async function migrate(cwd: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [CLI, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  child.once('error', reject)
  const [code, stdout, stderr] = await Promise.all([promise, text(child.stdout), text(child.stderr)])
  return { code, stdout, stderr }
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let all = ''
  for await (const chunk of stream) all += chunk.toString()
  return all
}
