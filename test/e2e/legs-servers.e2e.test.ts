// Leaving and entering dual-write under load, and servers that go away under it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FULL } from '../support/full.ts'
import { type MovingShop, startMovingShop, succeed } from '../support/moving-shop.ts'
import { eventually } from '../support/two-sides.ts'
import { write } from '../support/writers.ts'

const stack = new AsyncDisposableStack()
let moving: MovingShop

beforeAll(async () => {
  moving = await startMovingShop(stack)
})
afterAll(() => stack.disposeAsync())

test('dual-write is left and entered again under load: equal, and no client has noticed', async () => {
  for (let round = 0; round < (FULL ? 10 : 2); round++) {
    await more(60)
    await succeed(moving.shop.cli(['dual-write', 'users', '--off']))
    expect((await moving.standing()).stage).toBe('route')
    expect(await openIntents()).toBe(0)
    expect(await write(moving.apps.users, 'update users set name = name where false')).toBe('25006')
    await more(60)
    await succeed(moving.shop.cli(['dual-write', 'users']))
  }
  await moving.expectSound()
  expect(moving.writers.ledger.failures).toEqual([])
})

test('a move that was killed is settled before dual-write is left', async () => {
  const killed = await moving.cutover({ MIGRATE_FAILPOINT: 'cutover.switch.after=kill' })
  expect(killed.signal).toBe('SIGKILL')
  const left = await moving.shop.cli(['dual-write', 'users', '--off'])
  expect([left.code, left.stdout]).toEqual([4, expect.stringContaining('STAGE_ILLEGAL')])
  expect(await moving.expectSound()).toMatchObject({ stage: 'live', side: 'service' })
  await succeed(moving.rollback())
})

describe.each(['dual-write', 'live'] as const)('in %s', (stage) => {
  test.runIf(FULL || stage === 'dual-write')("the service's server is restarted: nothing is lost", async () => {
    await moving.ensure(stage)
    await more(50)
    await moving.shop.usersServer.restart()
    await serversAreBack()
    expect((await moving.expectSound()).stage).toBe(stage)
  })

  test("the monolith's server crashes and recovers: nothing is lost", async () => {
    await moving.ensure(stage)
    await more(50)
    await moving.shop.monolithServer.stop('immediate')
    await moving.shop.monolithServer.restart()
    await serversAreBack()
    expect((await moving.expectSound()).stage).toBe(stage)
  })
})

test.runIf(FULL)("the monolith's server crashes in the middle of a cutover: one of two states", async () => {
  await moving.ensure('dual-write')
  const running = moving.cutover()
  await eventually(
    async () =>
      (await moving.sides.monolith.query(`select count(*)::int as n from migrate.service where hold_run is not null`))
        .rows[0].n,
    (held: number) => held === 1,
  )
  await moving.shop.monolithServer.stop('immediate')
  await moving.shop.monolithServer.restart()
  await running
  await serversAreBack()
  await moving.rollback()
  await moving.ensure('dual-write')
  await moving.expectSound()
})

async function openIntents(): Promise<number> {
  const text = `select count(*)::int as n from migrate.intent where state = 'open'`
  return (await moving.sides.monolith.query(text)).rows[0].n
}

/** Resolves when so many more writes were acknowledged. */
async function more(writes: number): Promise<void> {
  const { ledger } = moving.writers
  const wanted = ledger.acknowledged + writes
  await eventually(
    () => Promise.resolve(ledger.acknowledged),
    (now) => now >= wanted,
  )
}

async function serversAreBack(): Promise<void> {
  moving.restarted = true
  await moving.disconnect()
  await moving.connect()
  await more(50)
  // worker and routers have found their servers again
  const heard = `select (select count(*)::int from migrate.progress where phase = 'streaming' and seen_at > clock_timestamp() - interval '2 s')
    + (select count(*)::int from migrate.router where seen_at > clock_timestamp() - interval '2 s') as n`
  await eventually(
    async () => (await moving.sides.monolith.query(heard)).rows[0].n,
    (n: number) => n === 3,
    30_000,
  )
}
