import { writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { type CliResult, migrate } from '../support/cli.ts'

// Whatever is wrong with a command is said with a code, a sentence and what to do, before anything is touched.

let shop: Shop
beforeAll(async () => {
  shop = await startShop({ size: 'small' })
})
afterAll(() => shop[Symbol.asyncDispose]())

const COMMANDS = [
  ['sync', 'users'],
  ['route', 'set', 'users', '--percent', '25'],
  ['route', 'show'],
  ['route', 'serve', '--listen', '127.0.0.1:0'],
  ['dual-write', 'users'],
  ['dual-write', 'users', '--off'],
  ['cutover', 'users'],
  ['rollback', 'users', '--dry-run'],
  ['status', 'users'],
].map((args): [string[]] => [args])
const SECRET = 'hunter2'

// the others: src/commands/percent.test.ts
test.each(['101', ''])('route set --percent %j is not a percentage', async (percent) => {
  const result = await run(['route', 'set', 'users', '--percent', percent])
  expectError(result, 2, 'PERCENT_INVALID', `"${percent}" is not a percentage`)
  expect(result.stderr).toContain('0 to 100')
})

describe('the service is unknown', () => {
  const named = COMMANDS.filter(([args]) => args.includes('users'))
  test.each(named)('%j', async (args) => {
    const typo = args.map((word) => (word === 'users' ? 'user' : word))
    const result = await run(typo)
    expectError(result, 2, 'SERVICE_UNKNOWN', 'there is no service "user" in the configuration. Did you mean "users"?')
    expect(result.stderr).toContain('Services: users.')
  })

  test.each(['__proto__', 'constructor', '', 'x; drop table users', '\u001b[31mred'])('as is %j', async (name) => {
    const result = await run(['status', name])
    expectError(result, 2, 'SERVICE_UNKNOWN', 'there is no service')
    expect(result.stderr).not.toContain('\u001b')
  })
})

test.each(COMMANDS)('without a configuration: %j', async (args) => {
  const result = await migrate([...args, '-c', 'nowhere.yaml'], shop.env)
  expectError(result, 2, 'CONFIG_MISSING', 'there is no configuration file at nowhere.yaml')
})

test.each([
  ['has an unknown key', 'CONFIG_UNKNOWN_KEY', 'key.yaml', (text: string) => text.replace('tables:', 'tabels:')],
  ['is not YAML', 'CONFIG_SYNTAX', 'syntax.yaml', (text: string) => text.replace('[users', '[users[')],
  ['needs a variable', 'CONFIG_VARIABLE_UNSET', 'unset.yaml', (text: string) => text.replace('{MONOLITH', '{NO')],
  ['has a wrong URL', 'CONFIG_INVALID', 'url.yaml', (text: string) => text.replace('database: "', 'database: "x')],
] as const)('the configuration %s', async (_, code, file, change) => {
  const path = join(shop.folder, file)
  writeFileSync(path, change(await readFile(shop.config, 'utf8')))
  const result = await migrate(['sync', 'users', '-c', path, '-v'], shop.env)
  expectError(result, 2, code, file)
  expect(result.stderr).not.toContain(new URL(shop.monolith.apply).password)
})

describe('a database cannot be reached', () => {
  test.each(COMMANDS)('%j', async (args) => {
    const env = { MONOLITH_DATABASE_URL: `postgres://migrate_apply:${SECRET}@127.0.0.1:9/shop` }
    const result = await run([...args, '-v'], env)
    expectError(result, 7, 'DATABASE_UNREACHABLE', 'monolith database at 127.0.0.1:9/shop')
    expect(result.stderr).not.toContain(SECRET)
  })

  test.each([
    ['an unknown host', 'no-such-host.invalid', 'ENOTFOUND'],
    ['an unknown database', null, 'does not exist'],
    ['a wrong password', null, 'password authentication failed'],
    ['an unknown user', null, 'password authentication failed'],
  ])('%s', async (name, host, reason) => {
    const url = new URL(shop.monolith.apply)
    if (host !== null) [url.host, url.port] = [host, '']
    if (name === 'an unknown database') url.pathname = '/nope'
    if (name === 'a wrong password') url.password = SECRET
    if (name === 'an unknown user') [url.username, url.password] = ['nobody', SECRET]
    const password = url.password
    for (const flags of [['-v'], ['--json', '-v']]) {
      const result = await run(['status', ...flags], { MONOLITH_DATABASE_URL: url.href })
      const code = host === null ? 'DATABASE_LOGIN' : 'DATABASE_UNREACHABLE'
      expectError(result, 7, code, reason)
      expect(result.stdout + result.stderr).not.toContain(password)
    }
  })

  test("the service's own is named", async () => {
    const env = { USERS_DATABASE_URL: `postgres://migrate_apply:${SECRET}@127.0.0.1:9/users` }
    const result = await run(['sync', 'users', '--once', '-v'], env)
    expectError(result, 7, 'DATABASE_UNREACHABLE', 'users database at 127.0.0.1:9/users')
    expect(result.stderr).not.toContain(SECRET)
  })
})

test('nothing of all this has touched a database', async () => {
  for (const { superuser } of [shop.monolith, shop.users]) {
    expect(await value(superuser, `select to_regnamespace('migrate') is null`)).toBe(true)
  }
  expect(await value(shop.monolith.superuser, `select count(*)::int from pg_replication_slots`)).toBe(0)
})

describe('status of an untouched database', () => {
  test('says where to begin, and creates nothing', async () => {
    const { code, stdout, stderr } = await run(['status'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^shop\n├ users {2}stage off, 0 % of the reads\n/)
    expect(stdout).toMatch(/Next:\n {2}migrate sync users /)
    expect(await value(shop.monolith.superuser, `select to_regnamespace('migrate') is null`)).toBe(true)
  })

  test('as JSON', async () => {
    const { stdout } = await run(['status', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ schema: 'migrate.status/1', ok: true },
      data: { project: 'shop', services: [{ service: 'users', stage: 'off', next: 'migrate sync users' }] },
      nextSteps: [{ cmd: 'migrate sync users' }],
    })
  })
})

describe('a stage is left out', () => {
  test.each([
    ['off', ['route', 'set', 'users', '--percent', '25'], 'route'],
    ['off', ['dual-write', 'users'], 'dual-write'],
    ['off', ['dual-write', 'users', '--off'], 'route'],
    ['off', ['cutover', 'users'], 'live'],
    ['off', ['cutover', 'users', '--dry-run'], 'live'],
    ['off', ['rollback', 'users'], 'dual-write'],
    ['off', ['rollback', 'users', '--dry-run'], 'dual-write'],
    ['sync', ['dual-write', 'users'], 'dual-write'],
    ['sync', ['cutover', 'users'], 'live'],
    ['sync', ['rollback', 'users'], 'dual-write'],
    ['route', ['cutover', 'users'], 'live'],
    ['route', ['dual-write', 'users', '--off'], 'route'],
    ['route', ['rollback', 'users', '--dry-run'], 'dual-write'],
  ])('from %s by %j', async (stage, args, to) => {
    const legal = { off: 'sync', sync: 'route, off', route: 'dual-write, sync' }[stage] ?? ''
    const next = { off: 'sync', sync: 'route set', route: 'dual-write' }[stage] ?? ''
    await bring(stage)
    const result = await run(args)
    expectError(result, 4, 'STAGE_ILLEGAL', `users cannot go from stage ${stage} to ${to}`)
    expect(result.stderr).toContain(`From ${stage} it can go to: ${legal}. Next: \`migrate ${next} users`)
  })

  test('dual-write without a worker says how to start one', async () => {
    await bring('route')
    const result = await run(['dual-write', 'users'])
    expectError(result, 4, 'WORKER_MISSING', 'no sync worker of users is running')
    expect(result.stderr).toContain('`migrate sync users`')
  })
})

test.each(['127.0.0.1'])('route serve --listen %j is a usage error', async (listen) => {
  const result = await run(['route', 'serve', '--listen', listen])
  expectError(result, 2, 'USAGE', '--listen takes HOST:PORT')
  expect(result.stderr).toContain('Run `migrate route serve --help`.')
})

test('route serve on a port that is taken says so once, and is no router that others wait for', async () => {
  const { host } = new URL(shop.monolithUrl)
  const result = await run(['route', 'serve', '--listen', host])
  expectError(result, 1, 'PORT_IN_USE', `cannot listen on ${host}: listen EADDRINUSE`)
  expect(JSON.parse((await run(['route', 'show', '--json'])).stdout).data.routers).toEqual([])
})

test.each(['cutover', 'rollback'])('%s --max-write-outage has bounds', async (move) => {
  for (const time of ['20s', '500ms', 'long']) {
    const result = await run([move, 'users', '--max-write-outage', time])
    expectError(result, 2, 'USAGE', '--max-write-outage takes 1s to 10s')
    expect(result.stderr).toContain(`Run \`migrate ${move} --help\`.`)
  }
})

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CliResult> {
  return migrate(['-c', shop.config, ...args], { ...shop.env, ...env })
}

/** The error, as text on stderr or as the one JSON object on stdout, with something to do. */
function expectError({ code, stdout, stderr }: CliResult, exit: number, error: string, message: string): void {
  const json = stdout.startsWith('{')
  expect({ code, error: json || stderr.includes(`✖ ${error}  `) }, stdout + stderr).toEqual({ code: exit, error: true })
  expect(json ? stdout : stderr).toContain(json ? JSON.stringify(message).slice(1, -1) : message)
  if (!json) {
    expect(stdout).toBe('')
    expect(stderr).toMatch(/\n {2}Do: \S/)
    return
  }
  const issue = { code: error, severity: 'error', hint: expect.stringMatching(/\S/) }
  expect(JSON.parse(stdout)).toMatchObject({ schema: 'migrate.error/1', ok: false, issues: [issue] })
}

let reached = 'off'
/** Walks the service to this stage, once. */
async function bring(stage: string): Promise<void> {
  const steps = { sync: ['sync', 'users', '--once'], route: ['route', 'set', 'users', '--percent', '25'] }
  for (const step of ['sync', 'route'] as const) {
    const stages = ['off', 'sync', 'route']
    if (stages.indexOf(step) > stages.indexOf(stage) || stages.indexOf(step) <= stages.indexOf(reached)) continue
    expect(await run(steps[step])).toMatchObject({ code: 0 })
    reached = step
  }
}

async function value(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return Object.values((await client.query(sql)).rows[0] as object)[0]
  } finally {
    await client.end()
  }
}
