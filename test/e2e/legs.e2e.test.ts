import { rm, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { FULL } from '../support/full.ts'
import { connect, type MovingShop, startMovingShop, succeed } from '../support/moving-shop.ts'
import { eventually, expectEqual } from '../support/two-sides.ts'

const stack = new AsyncDisposableStack()
let moving: MovingShop
let user = 30

beforeAll(async () => {
  moving = await startMovingShop(stack)
})
afterEach(() => rm(moving.shop.pauseFile, { force: true }))
afterAll(() => stack.disposeAsync())

describe.each(['before', 'inside'] as const)('a second leg that is paused %s its transaction', (where) => {
  test('and woken after CDC has brought the row adds nothing', async () => {
    const leg = await pausedLeg(where)
    await leg.carried()
    await leg.wake()
    await expectAdded(leg.user, leg.before, 1)
    await moving.expectSound()
  })

  test('and woken after the cutover adds nothing', async () => {
    const leg = await pausedLeg(where)
    await succeed(moving.cutover())
    await leg.wake()
    await expectAdded(leg.user, leg.before, 1)
    expect((await moving.expectSound()).side).toBe('service')
    // and the service's own writes count
    expect((await addOne(leg.user)).status).toBe(200)
    await expectAdded(leg.user, leg.before, 2)
    await succeed(moving.rollback())
  })

  test.runIf(FULL)('and woken after a cutover and a rollback adds nothing', async () => {
    const leg = await pausedLeg(where)
    await succeed(moving.cutover())
    await succeed(moving.rollback())
    await leg.wake()
    await expectAdded(leg.user, leg.before, 1)
    await moving.expectSound()
  })
})

describe('the leg of a router that was killed', () => {
  test('between its intent and the leg: CDC carries the write', async () => {
    const id = ++user
    const before = await points(id)
    const lock = await connect(moving.shop.monolith.app)
    await lock.query('begin')
    await lock.query('update users set name = name where id = $1', [id])
    const answer = addOne(id)
    await eventually(
      () => openIntents(id),
      (open) => open === 1,
    )
    await moving.router.kill9()
    expect((await answer).status).toBeNull()
    moving.routers = [await moving.shop.startRouter()]
    // the monolith carries it out, nobody is left to send the leg
    await lock.query('commit')
    await lock.end()
    await expectAdded(id, before, 1)
    await eventually(
      () => openIntents(id),
      (open) => open === 0,
    )
    await moving.expectSound()
  })

  test('while the leg runs: it is revoked, and adds nothing later', async () => {
    const leg = await pausedLeg('before')
    await moving.router.kill9()
    moving.routers = [await moving.shop.startRouter()]
    await leg.carried()
    await leg.wake()
    await expectAdded(leg.user, leg.before, 1)
    await moving.expectSound()
  })
})

test('many legs paused at once, under load, then all woken: equal', async () => {
  await writeFile(moving.shop.pauseFile, JSON.stringify({ where: 'inside', match: '/points' }))
  const { ledger } = moving.writers
  const acknowledged = ledger.acknowledged
  await eventually(
    () => Promise.resolve(ledger.acknowledged),
    (now) => now > acknowledged + 200,
  )
  await rm(moving.shop.pauseFile)
  await moving.expectSound()
})

/** Sends an add whose leg stops in the service; its client has its answer before (cutover-frozen.e2e: within a second). */
async function pausedLeg(where: 'before' | 'inside') {
  const id = ++user
  const before = await points(id)
  await writeFile(moving.shop.pauseFile, JSON.stringify({ where, match: `/users/${id}/points` }))
  expect((await addOne(id)).status).toBe(200)
  const said = `POST /users/${id}/points`
  const { stdout } = moving.shop.usersApp
  expect(await stdout.find(new RegExp(`^paused ${where} ${said}`), AbortSignal.timeout(5_000))).not.toBeNull()
  return {
    user: id,
    before,
    async carried() {
      await eventually(
        () => servicePoints(id),
        (now) => now === before + 1,
      )
    },
    async wake() {
      await rm(moving.shop.pauseFile)
      expect(await stdout.find(new RegExp(`^resumed ${where} ${said}`), AbortSignal.timeout(5_000))).not.toBeNull()
    },
  }
}

async function addOne(id: number): Promise<{ status: number | null }> {
  try {
    const response = await fetch(`${moving.router.url}/users/${id}/points`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-user-id': String(id) },
      body: '{"add":1}',
    })
    await response.text()
    return { status: response.status }
  } catch {
    // its router was killed
    return { status: null }
  }
}

/** Both sides come to it and stay there: a leg that was woken has had its time. */
async function expectAdded(id: number, before: number, added: number): Promise<void> {
  const look = async () => [await points(id), await servicePoints(id)]
  await eventually(look, (now) => now.every((value) => value === before + added))
  await moving.writers.rest()
  await expectEqual(moving.sides)
  moving.writers.go()
  expect(await look()).toEqual([before + added, before + added])
}

async function points(id: number): Promise<number> {
  return (await moving.sides.monolith.query('select loyalty_points as n from users where id = $1', [id])).rows[0].n
}

async function servicePoints(id: number): Promise<number> {
  return (await moving.sides.users.query('select loyalty_points as n from users where id = $1', [id])).rows[0].n
}

async function openIntents(id: number): Promise<number> {
  const text = `select count(*)::int as n from migrate.intent where state = 'open' and path = $1`
  return (await moving.sides.monolith.query(text, [`/users/${id}/points`])).rows[0].n
}
