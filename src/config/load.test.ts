import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ErrorCode, MigrateError } from '../errors.ts'
import { loadConfig } from './load.ts'

const SECRET = 'hunter2'
const MONOLITH = `postgres://app:${SECRET}@db:5432/shop`
const VALID = `project: shop
monolith: { database: "\${MONOLITH}", http: http://127.0.0.1:3000 }
services:
  users:
    http: http://127.0.0.1:3001
    tables: [users]
    routes:
      - { path: /users/:id/**, sticky: [header:x-user-id, path:id] }
    stores:
      - { kind: postgres, url: "\${USERS:-postgres://u@localhost/users}" }
`

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'migrate-config-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('loadConfig', () => {
  test('reads a valid file and fills in what is left out', async () => {
    const config = await load(VALID)
    expect(config).toEqual({
      project: 'shop',
      monolith: { database: MONOLITH, http: 'http://127.0.0.1:3000' },
      control: {},
      router: { listen: { host: '127.0.0.1', port: 8080 } },
      alerts: [],
      throttle: {},
      services: {
        users: {
          http: 'http://127.0.0.1:3001',
          tables: { users: {} },
          routes: [{ path: '/users/:id/**', sticky: ['header:x-user-id', 'path:id'], id: 'id' }],
          idempotent: true,
          maxRequestTime: 60_000,
          slot: { detachRatio: 0.5, detachBytes: 10 * 1024 ** 3 },
          stores: [{ kind: 'postgres', url: 'postgres://u@localhost/users' }],
        },
      },
    })
  })

  test.each([
    ['tables: [users, sales.orders]', { users: {}, 'sales.orders': {} }],
    ['tables: { users: {}, sales.orders: }', { users: {}, 'sales.orders': {} }],
  ])('takes tables as a list or a map: %s', async (tables, expected) => {
    const config = await load(VALID.replace('tables: [users]', tables))
    expect(config.services['users']?.tables).toEqual(expected)
  })

  test.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['2m', 120_000],
    ['1h', null],
  ])('reads %s as the longest request of a service without idempotent()', async (time, expected) => {
    const plain = `tables: [users]\n    idempotent: false\n    maxRequestTime: ${time}`
    const loading = load(VALID.replace('tables: [users]', plain))
    if (expected === null) await expect(loading).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    else expect((await loading).services['users']).toMatchObject({ idempotent: false, maxRequestTime: expected })
  })

  test('reads IPv6 and named addresses to listen on', async () => {
    expect((await load(`${VALID}router: { listen: "[::1]:80" }\n`)).router.listen).toEqual({ host: '::1', port: 80 })
  })
})

describe('alerts', () => {
  test('go to webhooks and commands', async () => {
    const text = `${VALID}alerts:\n  - { webhook: "https://h/x", secret: sixteen-characters }\n  - command: [logger, -t, x]\n`
    expect((await load(text)).alerts).toEqual([
      { webhook: 'https://h/x', secret: 'sixteen-characters' },
      { command: ['logger', '-t', 'x'] },
    ])
  })

  test.each([
    ['{}', 'must have either webhook or command'],
    ['{ webhook: "https://h", command: [x] }', 'must have either webhook or command'],
    ['{ command: [x], secret: sixteen-characters }', 'must have either webhook or command'],
    ['{ webhook: "http://h/x" }', 'must be an https URL without a password; http only to this machine'],
    [`{ webhook: "https://u:${SECRET}@h/x" }`, 'must be an https URL without a password'],
    ['{ webhook: "https://h", secret: short }', 'must have at least 16 characters'],
    ['{ command: [] }', 'must name a program'],
    ['{ command: logger }', 'must be a list of the program and its arguments'],
  ])('%s is refused', async (target, message) => {
    const error = await expectFailure(
      `${VALID}alerts:\n  - ${target}\n`,
      { MONOLITH },
      'CONFIG_INVALID',
      undefined,
      message,
    )
    expect(error.message).not.toContain(SECRET)
  })
})

describe('interpolation', () => {
  test('never makes YAML of a value', async () => {
    const value = 'postgres://u:a: #"\n${MONOLITH}@h/d'
    await expectFailure(VALID, { MONOLITH: value }, 'CONFIG_INVALID', '2:13', 'monolith.database')
    const config = await load(VALID.replace('shop', '"${NAME}"'), { MONOLITH, NAME: 'a-b' })
    expect(config.project).toBe('a-b')
  })

  test('does not fill in what a variable holds', async () => {
    const url = 'postgres://u:${OTHER}@h/d'
    expect((await load(VALID, { MONOLITH: url })).monolith.database).toBe(url)
  })

  test('keeps $${ as a literal', async () => {
    const config = await load(VALID.replace('"${MONOLITH}"', () => '"postgres://u:$${X}@h/d"'))
    expect(config.monolith.database).toBe('postgres://u:${X}@h/d')
  })

  test('counts an empty optional value as not given', async () => {
    expect((await load(`${VALID}control: { url: "\${NOTHING:-}" }\n`)).control).toEqual({})
  })

  test('reads a secret from a file beside the configuration, without its last line break', async () => {
    writeFileSync(join(folder, 'url'), `${MONOLITH}\n`)
    const config = await load(VALID.replace('"${MONOLITH}"', '{ file: ./url }'), {})
    expect(config.monolith.database).toBe(MONOLITH)
  })

  test('names a secret file that cannot be read', async () => {
    const text = VALID.replace('"${MONOLITH}"', '{ file: /run/secrets/none }')
    const error = await expectFailure(text, {}, 'CONFIG_FILE_UNREADABLE', '2:23')
    expect(error.message).toContain('/run/secrets/none cannot be read (no such file)')
  })

  test('names a variable that is not set, and where', async () => {
    const error = await expectFailure(VALID, {}, 'CONFIG_VARIABLE_UNSET', '2:23', 'MONOLITH')
    expect(error.hint).toContain('${MONOLITH:-value}')
  })
})

describe('an env file', () => {
  test('gives variables; the environment wins', async () => {
    const envFile = join(folder, '.env')
    writeFileSync(envFile, `# a comment\nMONOLITH="${MONOLITH}"\nexport USERS='postgres://file@h/d'\n`)
    const path = write(VALID)
    const config = await loadConfig({ path, envFile, env: { USERS: 'postgres://env@h/d' } })
    expect(config.monolith.database).toBe(MONOLITH)
    expect(config.services['users']?.stores[0]?.url).toBe('postgres://env@h/d')
  })

  test('that does not exist is an error', async () => {
    const error = await failure(loadConfig({ path: write(VALID), envFile: join(folder, 'none.env'), env: {} }))
    expect(error).toMatchObject({ code: 'CONFIG_FILE_UNREADABLE', exit: 2 })
    expect(error.message).toMatch(/^--env-file: .*none\.env cannot be read/)
  })
})

describe('a wrong configuration', () => {
  test('that does not exist is CONFIG_MISSING', async () => {
    const error = await failure(loadConfig({ path: join(folder, 'none.yaml'), env: {} }))
    expect(error).toMatchObject({ code: 'CONFIG_MISSING', exit: 2 })
  })

  test('that is a folder cannot be read', async () => {
    const error = await failure(loadConfig({ path: folder, env: {} }))
    expect(error).toMatchObject({ code: 'CONFIG_FILE_UNREADABLE' })
  })

  test.each([
    ['a missing bracket', 'project: [shop', '1:15'],
    ['a key given twice', 'project: shop\nproject: shop\n', '2:1'],
    ['a tab as indentation', 'services:\n\tusers: {}\n', '2:1'],
    ['an alias without an anchor', 'project: *none\n', '1:10'],
    ['two documents', 'a: 1\n---\nb: 2\n', '2:1'],
    ['more than 1 MiB', `# ${'x'.repeat(1024 ** 2)}`, '1:1'],
    [
      'an alias bomb',
      `a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`,
      '1:1',
    ],
  ])('names %s', async (_, text, at) => {
    await expectFailure(text, {}, 'CONFIG_SYNTAX', at)
  })

  test('never quotes the text around a syntax error', async () => {
    const error = await expectFailure(`monolith:\n  database: "${MONOLITH}\n`, {}, 'CONFIG_SYNTAX')
    expect(error.message).not.toContain(SECRET)
  })

  test.each([
    ['project: shop', 'projct: shop', 'projct', 'project', '1:1', 'the configuration'],
    ['http: http://127.0.0.1:3000', 'htp: http://127.0.0.1:3000', 'htp', 'http', '2:38', 'monolith'],
    ['tables: [users]', 'tabels: [users]', 'tabels', 'tables', '6:5', 'services.users'],
    ['sticky:', 'stcky:', 'stcky', 'sticky', '8:32', 'services.users.routes[0]'],
    ['url: "${USERS', 'ulr: "${USERS', 'ulr', 'url', '10:27', 'services.users.stores[0]'],
  ])('finds the nearest key: %s → %s', async (right, wrong, key, close, at, section) => {
    const text = VALID.replace(right, wrong)
    const error = await expectFailure(text, { MONOLITH }, 'CONFIG_UNKNOWN_KEY', at)
    expect(error.message).toContain(`unknown key "${key}" in ${section}. Did you mean "${close}"?`)
    expect(error.hint).toContain(close)
  })

  test('names the options a table may have', async () => {
    const text = VALID.replace('[users]', '{ users: { encrypted: [x] } }')
    const error = await expectFailure(text, { MONOLITH }, 'CONFIG_UNKNOWN_KEY', '6:24')
    expect(error.hint).toBe('Allowed here: nothing.')
  })

  test.each([
    ['project: shop\n', '', '1:1', 'project is missing or empty'],
    ['project: shop', 'project: Shop', '1:1', 'project must be 1 to 30 lowercase letters'],
    ['project: shop', 'project: 7', '1:1', 'project must be 1 to 30 lowercase letters'],
    ['monolith: {', 'monolith: [{', '2:1', 'monolith must be a map', '}\nservices', '}]\nservices'],
    ['http: http://127.0.0.1:3001', 'http: 127.0.0.1:3001', '5:5', 'services.users.http is not an http URL'],
    ['http: http://127.0.0.1:3001', 'http: http://h:1/base', '5:5', 'services.users.http is not an http URL'],
    ['tables: [users]', 'tables: users', '6:5', 'services.users.tables must be a list of tables, or a map'],
    ['tables: [users]', 'tables: []', '6:5', 'services.users.tables must name at least one table'],
    ['tables: [users]', 'tables: [users, "a b"]', '6:21', 'services.users.tables[1] must be a table name'],
    ['tables: [users]', 'tables: { "sales.*": {} }', '6:15', 'must be a table name'],
    ['tables: [users]', 'tables: [users, public.users]', '6:5', 'services.users.tables names public.users twice'],
    ['/users/:id/**', 'users', '8:11', 'services.users.routes[0].path must begin with /'],
    ['/users/:id/**', '/**/users', '8:11', 'services.users.routes[0].path must begin with /'],
    ['header:x-user-id', 'x-user-id', '8:41', 'services.users.routes[0].sticky[0] must be header:NAME'],
    ['path:id', 'path:user', '8:59', 'sticky[1] has no segment :user in the path of its route'],
    ['kind: postgres', 'kind: oracle', '10:11', 'services.users.stores[0].kind must be one of: postgres'],
    ['  users:\n', '  Users:\n', '4:3', 'services.Users must be 1 to 30 lowercase letters'],
  ])('says what is wrong: %s → %s', async (right, wrong, at, message, then = '', instead = '') => {
    const text = VALID.replace(right, wrong).replace(then, instead)
    const error = await expectFailure(text, { MONOLITH }, 'CONFIG_INVALID', at)
    expect(error.message).toContain(message)
  })

  test('names the first problem in the file', async () => {
    const text = VALID.replace('project: shop', 'project: SHOP').replace('tables: [users]', 'tables: 7')
    await expectFailure(text, { MONOLITH }, 'CONFIG_INVALID', '1:1')
  })

  test('a table belongs to one service', async () => {
    const text = `${VALID}  orders:\n    http: http://h:1\n    tables: [orders, public.users]\n    stores: [{ kind: postgres, url: postgres://u@h/d }]\n`
    const error = await expectFailure(text, { MONOLITH }, 'CONFIG_INVALID', '13:5')
    expect(error.message).toContain('services.orders.tables names public.users, which already belongs to users')
  })

  test('two services do not differ by - and _ only', async () => {
    const more = (name: string) =>
      `  ${name}: { http: http://h:1, tables: [t_${name}], stores: [{ kind: postgres, url: postgres://u@h/d }] }\n`
    await expectFailure(VALID + more('a-b') + more('a_b'), { MONOLITH }, 'CONFIG_INVALID', '12:3')
  })

  test.each([`mysql://u:${SECRET}@h/d`, `${SECRET}:x`, `postgres://u:${SECRET}@`, `postgres://u:${SECRET}@h`, SECRET])(
    'a wrong URL is not repeated',
    async (url) => {
      const error = await expectFailure(VALID, { MONOLITH: url }, 'CONFIG_INVALID', '2:13', 'is not a postgres URL')
      expect(JSON.stringify([error.message, error.hint, error.context, error.cause])).not.toContain(SECRET)
    },
  )
})

async function expectFailure(
  text: string,
  env: Record<string, string>,
  code: ErrorCode,
  at?: string,
  message = '',
): Promise<MigrateError> {
  const path = write(text)
  const error = await failure(loadConfig({ path, env }))
  expect(error).toMatchObject({ code, exit: 2 })
  if (at !== undefined) expect(error.context['at']).toBe(`${path}:${at}`)
  expect(error.message).toContain(message)
  return error
}

async function failure(loading: Promise<unknown>): Promise<MigrateError> {
  return await loading.then(
    () => expect.fail('it was accepted'),
    (error: MigrateError) => error,
  )
}

async function load(text: string, env: Record<string, string> = { MONOLITH }) {
  return await loadConfig({ path: write(text), env })
}

function write(text: string): string {
  const path = join(folder, 'migrate.yaml')
  writeFileSync(path, text)
  return path
}
