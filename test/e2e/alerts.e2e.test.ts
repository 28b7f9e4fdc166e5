import { appendFileSync } from 'node:fs'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { connect, succeed } from '../support/moving-shop.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'

const stack = new AsyncDisposableStack()
let shop: Shop
let receiver: Receiver
let monolith: pg.Client
let users: pg.Client
beforeAll(async () => {
  shop = stack.use(await startShop({ size: 'small' }))
  receiver = stack.use(await startReceiver())
  appendFileSync(shop.config, `alerts: [{ webhook: "${receiver.url}", secret: sixteen-characters }]\n`)
  monolith = await connect(shop.monolith.superuser)
  // the one role that the service's gate lets through
  users = await connect(shop.users.apply, 'migrate/test')
  stack.defer(async () => void (await Promise.all([monolith.end(), users.end()])))
})
afterAll(() => stack.disposeAsync())

test('a test can be sent by hand', async () => {
  await succeed(shop.cli(['config', 'test-alerts']))
  expect((await receiver.nth(1)).message).toMatchObject({ state: 'test', project: 'shop' })
  receiver.answers = [404, 204]
  const refused = await shop.cli(['config', 'test-alerts'])
  expect([refused.code, JSON.parse(refused.stdout).issues[0].code]).toEqual([7, 'ALERT_REFUSED'])
  expect(refused.stdout).not.toContain('a-secret-path')
})

test('a sync that cannot go on is told, once, and when it follows again', async () => {
  await succeed(shop.cli(['sync', 'users', '--once']))
  await monolith.query(`select pg_drop_replication_slot('migrate_shop_users')`)
  for (let start = 0; start < 2; start++) expect(await shop.cli(['sync', 'users'])).toMatchObject({ code: 8 })
  expect((await receiver.nth(3)).message).toMatchObject({
    ...{ state: 'raised', name: 'sync-failed', service: 'users', next: 'migrate explain SLOT_LOST' },
    context: { code: 'SLOT_LOST' },
  })
  const { stdout } = await succeed(shop.cli(['status', 'users']))
  expect(JSON.parse(stdout).data.services[0].alerts).toMatchObject([{ name: 'sync-failed' }])

  await users.query('truncate users, user_preferences; delete from migrate.checkpoint')
  await using _sync = await shop.startSync()
  expect((await receiver.nth(4)).message).toMatchObject({ state: 'resolved', name: 'sync-failed', service: 'users' })
})

test('rows that differ are told without a value of theirs, and when a later run is clean', async () => {
  await using _sync = await shop.startSync()
  await users.query(`update users set name = 'Mallory' where id = 477`)
  for (let run = 0; run < 2; run++) expect(await shop.cli(['reconcile', 'users'])).toMatchObject({ code: 3 })
  const { message, body } = await receiver.nth(5)
  expect(message).toMatchObject({ state: 'raised', name: 'drift', context: { rows: 1, tables: 'public.users' } })
  expect(body).not.toContain('Mallory')
  const { rows } = await monolith.query<{ name: string }>('select name from users where id = 477')
  await users.query(`update users set name = '${rows[0]?.name}' where id = 477`)
  // a part of the tables does not make it over
  await succeed(shop.cli(['reconcile', 'users', '--tables', 'user_preferences']))
  await succeed(shop.cli(['reconcile', 'users']))
  expect((await receiver.nth(6)).message).toMatchObject({ state: 'resolved', name: 'drift' })
  expect(receiver.got).toHaveLength(6)
})
