// A service that knows nothing of second legs: one that was given up may still run.
import { rm, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CliRun } from '../../fixtures/demo/shop.ts'
import { type MovingShop, startMovingShop, succeed } from '../support/moving-shop.ts'
import { eventually, expectEqual } from '../support/two-sides.ts'

const USER = 31
const stack = new AsyncDisposableStack()
let moving: MovingShop

beforeAll(async () => {
  moving = await startMovingShop(stack, { plain: '6s' })
})
afterAll(() => stack.disposeAsync())

test('a leg that runs after the sync has written its row counts twice, until it is settled; no cutover before', async () => {
  // on a busy machine their legs would be unsettled too
  await moving.writers.rest()
  const before = await points()
  await writeFile(moving.shop.pauseFile, JSON.stringify({ where: 'before', match: `/users/${USER}/points` }))
  expect(await add()).toBe(200)
  await eventually(states, (found) => found.join() === 'unsettled')
  await eventually(points, (now) => now === before + 1)
  await said(/^paused before/)
  await rm(moving.shop.pauseFile)
  await said(/^resumed before/)
  // nothing could keep it from running
  await eventually(points, (now) => now === before + 2)

  const refused = await moving.shop.cli(['cutover', 'users', '--dry-run'])
  expect([refused.code, refused.stdout]).toEqual([4, expect.stringContaining('"unsettled second legs","measured":"1"')])
  const { services } = data(await succeed(moving.shop.cli(['status', 'users']))) as { services: object[] }
  expect(services).toMatchObject([{ unsettled: 1, deadLetters: 0 }])
  expect(await states()).toEqual(['unsettled'])

  await eventually(states, (found) => found.join() === 'settled')
  await expectSound()
  expect(await points()).toBe(before + 1)
  // and nothing is kept of it
  await moving.writers.rest()
  await eventually(noted, (keys) => keys === 0)
  moving.writers.go()
})

test('a leg whose answer nobody hears is settled too, and dual-write can be left and entered', async () => {
  await moving.writers.rest()
  const before = await points()
  await writeFile(moving.shop.pauseFile, JSON.stringify({ where: 'inside', match: `/users/${USER}/points` }))
  expect(await add()).toBe(200)
  await eventually(states, (found) => found.includes('unsettled'))
  await rm(moving.shop.pauseFile)
  await succeed(moving.shop.cli(['dual-write', 'users', '--off']))
  expect(new Set(await states())).toEqual(new Set(['settled']))
  await succeed(moving.shop.cli(['dual-write', 'users']))
  await expectSound()
  expect(await points()).toBe(before + 1)
})

test('it is cut over, and after a rollback its gate opens when no late write can come any more', async () => {
  // refused while a leg of the writers is unsettled, which a busy machine may cause at any time
  await eventually(
    async () => (await moving.cutover()).code,
    (code) => code === 0,
    60_000,
  )
  await expectSound()
  await succeed(moving.rollback())
  expect(await gate()).toBe('closed')
  const before = await points()
  expect(await add()).toBe(200)
  await eventually(points, (now) => now === before + 1)
  const ended = `select extract(epoch from clock_timestamp() - max(ended_at))::float8 as n from migrate.run where state = 'done'`
  await succeed(moving.shop.cli(['dual-write', 'users']))
  expect((await moving.sides.monolith.query(ended)).rows[0].n).toBeGreaterThan(6)
  expect(await gate()).toBe('open')
  await expectSound()
})

/** Both sides have every acknowledged write once. */
async function expectSound(): Promise<void> {
  await moving.writers.rest()
  await expectEqual(moving.sides)
  await moving.expectNothingLost()
  moving.writers.go()
}

async function said(pattern: RegExp): Promise<void> {
  expect(await moving.shop.usersApp.stdout.find(pattern, AbortSignal.timeout(5_000))).not.toBeNull()
}

async function add(): Promise<number> {
  const response = await fetch(`${moving.router.url}/users/${USER}/points`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-user-id': String(USER) },
    body: '{"add":1}',
  })
  await response.text()
  return response.status
}

/** of the service */
async function points(): Promise<number> {
  return (await moving.sides.users.query('select loyalty_points as n from users where id = $1', [USER])).rows[0].n
}

/** States of the user's legs that did not go well. */
async function states(): Promise<string[]> {
  const { rows } = await moving.sides.monolith.query(
    `select state from migrate.intent where path = $1 and state <> 'answered' order by opened_at`,
    [`/users/${USER}/points`],
  )
  return rows.map(({ state }) => state as string)
}

async function noted(): Promise<number> {
  return (await moving.sides.users.query('select count(*)::int as n from migrate.resync')).rows[0].n
}

async function gate(): Promise<string> {
  return (await moving.sides.users.query(`select mode from migrate.gate where service = 'users'`)).rows[0].mode
}

function data(run: CliRun): unknown {
  return (JSON.parse(run.stdout.trimEnd().split('\n').at(-1) ?? '') as { data: unknown }).data
}
