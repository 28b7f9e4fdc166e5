import { spawn } from 'node:child_process'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import { CLI, exitCode, fastest, migrate, textOf } from '../support/cli.ts'

let shop: Shop
beforeAll(async () => {
  shop = await startShop({ size: 'small' })
})
afterAll(() => shop[Symbol.asyncDispose]())

describe('sync', () => {
  test('--once copies, names its slot and how to give it up', async () => {
    const { code, stdout, stderr } = await run(['sync', 'users', '--once'])
    expect(code).toBe(0)
    expect(stderr).toMatch(/^copied public\.users: 500 rows\ncopied public\.user_preferences: \d+ rows\n/)
    expect(stdout).toContain('✔ users holds what the monolith had committed')
    expect(stdout).toContain("select pg_drop_replication_slot('migrate_shop_users');")
    expect(stdout).toMatch(/Next:\n {2}migrate sync users /)
  })

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends in order on %s with %i', async (signal, code) => {
    await using sync = await shop.startSync()
    expect(await sync.stop(signal)).toEqual({ code, signal: null })
    expect(sync.stderr.text().includes('press ^C again within 3 s')).toBe(signal === 'SIGINT')
    expect(sync.stdout.all().at(-1)).toContain('"schema":"migrate.sync/1"')
  })

  test('ends at once on a second ^C, whatever it waits for', async () => {
    const [blocker, writer] = await Promise.all([connected(shop.users.superuser), connected(shop.monolith.superuser)])
    await using sync = await shop.startSync()
    // its next transaction waits for this lock, and so does its orderly end
    await blocker.query('begin; lock table users in access exclusive mode')
    await writer.query(`update users set name = 'changed' where id = 1`)
    await waitsForLock(blocker)
    sync.child.kill('SIGINT')
    await sync.stderr.find(/press \^C again/)
    const started = performance.now()
    sync.child.kill('SIGINT')
    expect(await sync.exited).toEqual({ code: 130, signal: null })
    expect(performance.now() - started).toBeLessThan(1_000)
    await Promise.all([blocker.end(), writer.end()])
  })
})

describe('a pipe that nobody reads to its end', () => {
  test.each([[['status']], [['route', 'show']], [['config', 'schema']], [['cutover', 'users', '--help']]])(
    '%j | head -1 is quiet',
    async (args) => {
      const line = [process.execPath, CLI, '-c', shop.config, ...args].map((word) => `'${word}'`).join(' ')
      const child = spawn('bash', ['-c', `${line} | head -1; exit \${PIPESTATUS[0]}`], { env: shop.env })
      const [code, stdout, stderr] = await Promise.all([exitCode(child), textOf(child.stdout), textOf(child.stderr)])
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout.trimEnd().split('\n')).toHaveLength(1)
    },
  )

  test('ends a sync in order', async () => {
    const args = [CLI, '-c', shop.config, 'sync', 'users', '--json']
    const child = spawn(process.execPath, args, { env: shop.env, stdio: ['ignore', 'pipe', 'pipe'] })
    const stderr = textOf(child.stderr)
    const code = exitCode(child)
    child.stdout.once('data', () => child.stdout.destroy())
    // it notices with its next line: the reverse direction begins at stage route
    await run(['route', 'set', 'users', '--percent', '1'])
    expect(await code).toBe(0)
    expect(await stderr).toBe('')
  })
})

test('status answers within 800 ms from start to end', async () => {
  expect(await fastest(800, ['-c', shop.config, 'status'], shop.env)).toBeLessThan(800)
})

test.each([
  ['0', 0],
  ['100', 100],
  ['0.5', 0.5],
  ['25.125', 25.125],
  ['007', 7],
])('route set --percent %s', async (text, percent) => {
  const { code, stdout } = await run(['route', 'set', 'users', '--percent', text, '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ data: { after: { stage: 'route', percent } } })
})

test('a whole migration in lines for people', async () => {
  await using _sync = await shop.startSync()
  await using _router = await shop.startRouter()
  await untilStreaming()
  const monolith = await connected(shop.monolith.app)
  await dropCrossingForeignKeys(monolith, 'users')
  await monolith.end()
  for (const args of [['dual-write'], ['cutover'], ['rollback'], ['dual-write', '--off']]) {
    const { code, stdout, stderr } = await run([...args, 'users'])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/^✔ .+\n\nNext:\n {2}migrate /)
    // one line a step with its time in a column, and no empty ones
    const steps = stderr.split('\n').slice(1, -1)
    for (const line of steps) expect(line).toMatch(/^✔ [a-z-]+ +\d+ ms {2}\S/)
    expect(new Set(steps.map((line) => line.indexOf(' ms'))).size).toBe(args[0] === 'dual-write' ? 0 : 1)
  }
  const { stdout } = await run(['status'])
  expect(stdout).toMatch(/^├ users {2}stage route/m)
})

function run(args: readonly string[]) {
  return migrate(['-c', shop.config, ...args], shop.env)
}

/** Until the worker has reported that it streams; it does so several times a second. */
async function untilStreaming(): Promise<void> {
  for (;;) {
    const { stdout } = await run(['status', '--json'])
    const { sync } = (JSON.parse(stdout) as { data: { services: [{ sync: { alive: boolean }[] }] } }).data.services[0]
    if (sync.length > 0 && sync.every(({ alive }) => alive)) return
  }
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  await client.connect()
  return client
}

/** Until another session waits for a lock. */
async function waitsForLock(client: pg.Client): Promise<void> {
  for (;;) {
    // not pg_stat_activity: a transaction sees that as it was at the first look
    const { rows } = await client.query(`select 1 from pg_locks where not granted`)
    if (rows.length > 0) return
  }
}
