import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { migrate } from '../support/cli.ts'
import { connect, succeed } from '../support/moving-shop.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

let shop: Shop
let monolith: pg.Client
let users: pg.Client
beforeAll(async () => {
  shop = await startShop({ size: 'small' })
  monolith = await connect(shop.monolith.superuser)
  users = await connect(shop.users.superuser)
})
afterAll(async () => {
  await Promise.all([monolith.end(), users.end()])
  await shop[Symbol.asyncDispose]()
})

test('--wait gives up in time with exit 6, and says what was missing', async () => {
  const nothing = await migrate([...args('--wait', 'healthy'), '--timeout', '500ms'], shop.env)
  expect([nothing.code, nothing.stdout]).toEqual([6, ''])
  expect(nothing.stderr).toContain('✖ WAIT_TIMEOUT  not healthy within 0.5 s: no service is synced\n  Do: ')
  await succeed(shop.cli(['sync', 'users', '--once']))
  for (const state of ['healthy', 'caught-up']) {
    const { code, stdout } = await shop.cli(['status', 'users', '--wait', state, '--timeout', '500ms'])
    expect([code, JSON.parse(stdout.trim().split('\n').at(-1) ?? '')]).toMatchObject([
      6,
      { issues: [{ code: 'WAIT_TIMEOUT', message: expect.stringContaining('users: no sync worker is alive') }] },
    ])
  }
})

test('--wait caught-up returns when the copy has what was committed before, and not earlier', async () => {
  await using _sync = await shop.startSync()
  await succeed(shop.cli(['status', '--wait', 'healthy', '--timeout', '20s']))
  await users.query('begin; lock table users in share mode')
  await monolith.query(`update users set name = 'late' where id = 3`)
  const early = await shop.cli(['status', 'users', '--wait', 'caught-up', '--timeout', '1500ms'])
  expect([early.code, early.stdout]).toEqual([6, expect.stringMatching(/users: \d+ bytes of the log behind/)])
  const waiting = shop.cli(['status', 'users', '--wait', 'caught-up', '--timeout', '20s'])
  await users.query('commit')
  await succeed(waiting)
  const { rows } = await users.query<{ name: string }>('select name from users where id = 3')
  expect(rows).toEqual([{ name: 'late' }])
})

test('--wait also waits for a server that is not up yet', async () => {
  const env = { ...shop.env, MONOLITH_DATABASE_URL: 'postgres://u:hunter2@127.0.0.1:9/x' }
  const { code, stderr } = await migrate([...args('--wait', 'healthy'), '--timeout', '1s'], env)
  expect([code, stderr]).toEqual([6, expect.stringContaining('cannot connect to the monolith database')])
  expect(stderr).not.toContain('hunter2')
})

test('--wait keeps its time beside a server that hangs', async () => {
  await using way = await startTcpProxy({ host: '127.0.0.1', port: shop.monolithServer.port })
  way.freeze()
  const url = new URL(shop.monolith.apply)
  url.port = String(way.port)
  const env = { ...shop.env, MONOLITH_DATABASE_URL: url.href }
  const { code, stderr, milliseconds } = await migrate([...args('--wait', 'healthy'), '--timeout', '1s'], env)
  expect([code, stderr]).toEqual([6, expect.stringContaining('a database does not answer')])
  expect(milliseconds).toBeLessThan(7_000)
})

test('-w without a terminal tells what changes, as lines or as NDJSON', async () => {
  await using watch = await shop.startCli(['status', '-w'], {}, /"event":"status"/)
  await using sync = await shop.startSync()
  expect(await watch.stdout.find(/"event":"change","service":"users","what":"forward worker"/)).not.toBeNull()
  await succeed(shop.cli(['route', 'set', 'users', '--percent', '5']))
  const change = await watch.stdout.find(/\{"event":"change",.*"what":"stage".*/)
  expect(JSON.parse(change?.[0] ?? '')).toEqual({
    ...{ event: 'change', service: 'users', what: 'stage' },
    ...{ from: 'sync', to: 'route' },
  })
  await sync.stop()
  await watch.stdout.find(/"what":"forward worker","from":"apply","to":"away"/)
  expect(await watch.stop('SIGTERM')).toEqual({ code: 143, signal: null })
  expect(watch.stdout.all().at(-1)).toContain('"schema":"migrate.status/1"')
})

test.each([
  [['--timeout', '5s'], '--timeout belongs to --wait'],
  [['--wait', 'ready'], '--wait takes caught-up or healthy'],
  [['--wait', 'healthy', '--timeout', '2x'], '2x is no time; write 500ms, 90s, 4m or 1h'],
  [['--wait', 'healthy', '-w'], '--watch and --wait exclude each other'],
])('status %j is a usage error', async (options, message) => {
  const { code, stderr } = await migrate(args(...options), shop.env)
  expect([code, stderr]).toEqual([2, expect.stringContaining(`✖ USAGE  ${message}`)])
})

function args(...options: string[]): string[] {
  return ['-c', shop.config, 'status', ...options]
}
