import { spawn } from 'node:child_process'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import { type RunningProcess, startProcess } from '../../fixtures/servers/process.ts'
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
    await using sync = await startSync()
    expect(await sync.stop(signal)).toEqual({ code, signal: null })
    expect(sync.stderr.text().includes('press ^C again within 3 s')).toBe(signal === 'SIGINT')
    expect(sync.stderr.text()).not.toContain('✖')
  })

  test('ends at once on a second ^C, whatever it waits for', async () => {
    const [blocker, writer] = await Promise.all([connected(shop.users.superuser), connected(shop.monolith.superuser)])
    await using sync = await startSync()
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
  await using _sync = await startSync()
  await using _router = await shop.startRouter()
  const steps = [
    ['dual-write', 'users'],
    ['cutover', 'users'],
    ['rollback', 'users'],
    ['dual-write', 'users', '--off'],
  ]
  const monolith = await connected(shop.monolith.app)
  await dropCrossingForeignKeys(monolith)
  await monolith.end()
  for (const args of steps) {
    const { code, stdout, stderr } = await run(args)
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/^✔ .+\n\nNext:\n {2}migrate /)
    const lines = stderr
      .trimEnd()
      .split('\n')
      .filter((line) => args.length === 2 && args[0] !== 'dual-write')
    // one line a step with its time in a column, and no empty ones
    for (const line of lines.slice(1)) expect(line).toMatch(/^✔ [a-z-]+ +\d+ ms {2}\S/)
    const columns = new Set(lines.slice(1).map((line) => line.indexOf(' ms')))
    expect(columns.size).toBeLessThanOrEqual(1)
  }
  const { stdout } = await run(['status'])
  expect(stdout).toMatch(/^├ users {2}stage route/m)
})

function run(args: readonly string[]) {
  return migrate(['-c', shop.config, ...args], shop.env)
}

let logs = 0
/** A worker that follows, with its lines as text. */
function startSync(): Promise<RunningProcess> {
  logs += 1
  return startProcess({
    ...{ name: 'sync', command: 'bash', env: shop.env, log: join(shop.folder, `text-sync-${logs}.log`) },
    // the line that says it follows is on stderr
    args: ['-c', `exec "$0" "$@" 2> >(tee /dev/stderr)`, process.execPath, CLI, '-c', shop.config, 'sync', 'users'],
    ready: /^following forward/,
  })
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  await client.connect()
  return client
}

/** Until another session waits for a lock that this one holds. */
async function waitsForLock(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      `select 1 from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid))`,
    )
    if (rows.length > 0) return
  }
}
