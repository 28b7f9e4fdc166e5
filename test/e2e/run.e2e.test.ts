import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { freePort } from '../../fixtures/servers/free-port.ts'
import { type RunningProcess, startProcess } from '../../fixtures/servers/process.ts'
import { CLI, migrate } from '../support/cli.ts'
import { connect, succeed } from '../support/moving-shop.ts'
import { ask } from '../support/routed-shop.ts'

let shop: Shop
let sql: pg.Client
beforeAll(async () => {
  shop = await startShop({ size: 'small' })
  sql = await connect(shop.monolith.superuser)
})
afterAll(async () => {
  await sql.end()
  await shop[Symbol.asyncDispose]()
})

test('a first run says what to do, follows what somebody else has started, and ends in order', async () => {
  await using run = await startRun()
  expect(await run.stdout.find(/"event":"stage","service":"users","stage":"off"/)).not.toBeNull()
  await succeed(shop.cli(['sync', 'users', '--once']))
  await isStreaming(run)
  await succeed(shop.cli(['route', 'set', 'users', '--percent', '100']))
  const listening = await run.stdout.find(/"event":"listening","url":"(http[^"]+)"/)
  const answer = await ask(listening?.[1] ?? '', { path: '/users/1', user: '1' })
  expect(answer).toMatchObject({ status: 200, shop: expect.stringMatching(/./) })

  expect(await run.stop('SIGTERM')).toEqual({ code: 143, signal: null })
  const stopped = events(run).filter(({ event, state }) => event === 'part' && state === 'stopped')
  expect(stopped.map(({ part }) => part)[0]).toBe('router')
  expect(new Set(stopped.map(({ part }) => part))).toEqual(new Set(['reconcile', 'router', 'sync users']))
  expect(events(run).at(-1)).toMatchObject({ schema: 'migrate.run/1', ok: true, data: { failed: [] } })
  // neither a lease nor a router stays behind
  expect(await count(`migrate.lease where expires_at > now()`)).toBe(0)
  expect(await count(`migrate.router`)).toBe(0)
})

test('tells people in lines, and ends with 130 on ^C', async () => {
  await using run = await startProcess({
    ...{ name: 'run', command: process.execPath, env: shop.env, log: join(shop.folder, 'run.log') },
    args: [CLI, '-c', shop.config, 'run', '--no-router', '--no-reconcile'],
  })
  await run.stderr.find(/^users {11}at stage route$/)
  await run.stderr.find(/^sync users {6}started$/)
  await run.stderr.find(/^sync users {6}following forward$/)
  expect(await run.stop('SIGINT')).toEqual({ code: 130, signal: null })
  expect(run.stdout.text()).toContain('stopped in order')
})

test('a second ^C ends it at once, whatever a worker waits for', async () => {
  const [blocker, writer] = await Promise.all([connect(shop.users.superuser), connect(shop.monolith.superuser)])
  await using run = await startRun()
  await isStreaming(run)
  await blocker.query('begin; lock table users in access exclusive mode')
  await writer.query(`update users set name = 'changed' where id = 1`)
  const waiting = `pg_stat_activity where wait_event_type = 'Lock' and application_name like 'migrate/shop_users/forward/%'`
  await eventually(async () => {
    const { rows } = await blocker.query<{ count: number }>(`select count(*)::int from ${waiting}`)
    return rows[0]?.count === 1
  })
  run.child.kill('SIGINT')
  await run.stderr.find(/press \^C again/)
  const started = performance.now()
  run.child.kill('SIGINT')
  expect(await run.exited).toEqual({ code: 130, signal: null })
  expect(performance.now() - started).toBeLessThan(1_000)
  await Promise.all([blocker.end(), writer.end()])
})

test('a worker is ended when its service goes back to off, and started when it returns', async () => {
  await using run = await startRun()
  await isStreaming(run)
  await sql.query(`update migrate.service set stage = 'off' where service = 'users'`)
  await run.stdout.find(/"part":"sync users","state":"stopped"/)
  await sql.query(`update migrate.service set stage = 'route' where service = 'users'`)
  await eventually(() => events(run).filter((e) => e.part === 'sync users' && e.state === 'started').length === 2)
})

describe('another process has the service', () => {
  test('stands by and says so, and takes over within 15 s after a kill -9', async () => {
    await using sync = await shop.startSync()
    await using run = await startRun()
    const standby = await run.stdout.find(/"part":"sync users","state":"standby","holder":"([^"]+)","since":"([^"]+)"/)
    expect(standby?.[1]).toMatch(new RegExp(`/${sync.pid}$`))
    expect(standby?.[2]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/)
    await sync.kill9()
    const died = performance.now()
    await isStreaming(run)
    expect(performance.now() - died).toBeLessThan(15_000)
  })

  test('takes over when the lease of a machine that is gone runs out', async () => {
    const seconds = 3
    await sql.query(
      `update migrate.lease set holder = 'elsewhere/1', epoch = epoch + 1, renewed_at = clock_timestamp(),
         expires_at = clock_timestamp() + $1 * interval '1 second' where name = 'sync/users'`,
      [seconds],
    )
    const leased = performance.now()
    await using run = await startRun()
    await run.stdout.find(/"state":"standby","holder":"elsewhere\/1"/)
    await isStreaming(run)
    const waited = performance.now() - leased
    expect(waited).toBeGreaterThan(seconds * 1_000)
    // a lease lives 10 s: together not more than 15
    expect(waited).toBeLessThan((seconds + 5) * 1_000)
  })

  test('a second sync is refused with who has it since when', async () => {
    await using run = await startRun()
    await isStreaming(run)
    const second = await migrate(['-c', shop.config, 'sync', 'users'], shop.env)
    expect(second.code).toBe(5)
    expect(second.stderr).toMatch(
      new RegExp(`LOCKED {2}sync/users is being worked on by \\S+/${run.pid} since \\d{4}-\\S+ \\S+ UTC`),
    )
  })
})

describe('a part fails for good', () => {
  let taken: Server
  beforeAll(async () => {
    taken = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => taken.once('listening', resolve))
  })
  afterAll(() => taken.close())

  test('the others go on, and the exit code says it at the end', async () => {
    await using run = await startRun((taken.address() as AddressInfo).port)
    await run.stdout.find(/"part":"router","state":"failed","code":"PORT_IN_USE"/)
    await isStreaming(run)
    expect(await run.stop('SIGTERM')).toEqual({ code: 1, signal: null })
    expect(events(run).at(-1)).toMatchObject({
      ...{ schema: 'migrate.run/1', status: 'error', issues: [{ code: 'PORT_IN_USE' }] },
      data: { failed: [{ part: 'router', code: 'PORT_IN_USE' }] },
    })
  })

  test('with nothing left to do it ends by itself', async () => {
    await sql.query(`update migrate.service set stage = 'off' where service = 'users'`)
    await using run = await startRun((taken.address() as AddressInfo).port)
    expect(await run.exited).toEqual({ code: 1, signal: null })
    await sql.query(`update migrate.service set stage = 'route' where service = 'users'`)
  })
})

test('an integrity stop of one worker leaves the router up, and is exit 8 at the end', async () => {
  await eventually(async () => (await count(`pg_replication_slots where active`)) === 0)
  await sql.query(`select pg_drop_replication_slot('migrate_shop_users')`)
  await using run = await startRun()
  await run.stdout.find(/"part":"sync users","state":"failed","code":"SLOT_LOST"/)
  const url = (await run.stdout.find(/"event":"listening","url":"(http[^"]+)"/))?.[1] ?? ''
  expect(await ask(url, { path: '/users/1', user: '1' })).toMatchObject({ status: 200 })
  expect(await run.stop('SIGTERM')).toEqual({ code: 8, signal: null })
})

test('waits for a database that is not there yet, and says so', async () => {
  const env = { MONOLITH_DATABASE_URL: 'postgres://u@127.0.0.1:9/x' }
  await using run = await shop.startCli(['run'], env, /"part":"control","state":"restarting"/)
  expect(run.stdout.all()[0]).toContain('cannot connect to the monolith database')
  expect(await run.stop('SIGTERM')).toEqual({ code: 143, signal: null })
})

test.each([
  [['run', '--listen', 'x'], '--listen takes HOST:PORT'],
  [['run', '--reconcile', 'sometimes'], '"sometimes" is no cron pattern'],
])('%j is a usage error', async (args, message) => {
  const { code, stderr } = await migrate([...args, '-c', shop.config], shop.env)
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
  expect(stderr).toContain('Run `migrate run --help`')
})

async function startRun(port?: number): Promise<RunningProcess> {
  const listen = `127.0.0.1:${port ?? (await freePort())}`
  return shop.startCli(['run', '--listen', listen], {}, /"event":"(stage|listening)"|"state":"failed"/)
}

/** What is written now arrives: the worker follows. */
async function isStreaming(run: RunningProcess): Promise<void> {
  expect(await run.stdout.find(/"event":"following","direction":"forward"/)).not.toBeNull()
  await eventually(
    async () => (await count(`pg_replication_slots where slot_name = 'migrate_shop_users' and active`)) === 1,
  )
}

interface Event {
  readonly event?: string
  readonly part?: string
  readonly state?: string
}

function events(run: RunningProcess): Event[] {
  return run.stdout.all().map((line) => JSON.parse(line) as Event)
}

async function count(from: string): Promise<number> {
  return (await sql.query<{ count: number }>(`select count(*)::int from ${from}`)).rows[0]?.count ?? -1
}

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('it never came to be')
    await sql.query('select pg_sleep(0.05)')
  }
}
