// What waits for a move that stands still: nobody for longer than the fence. It measures times, so it runs alone.
import { rm, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { planCutover, planRollback } from '../../src/cutover/plan.ts'
import { freezeAt } from '../support/frozen.ts'
import { FULL } from '../support/full.ts'
import { type MovingShop, passGate, startMovingShop, succeed } from '../support/moving-shop.ts'
import { controlState, eventually } from '../support/two-sides.ts'
import { write } from '../support/writers.ts'

/** One before the switch and one after it; with FULL every place. */
const PLACES = FULL
  ? [
      ...names(planCutover('users')).map((place) => `cutover.${place}`),
      ...names(planRollback('users')).map((place) => `rollback.${place}`),
    ]
  : ['cutover.fence.after', 'cutover.switch.after']
const FENCE = 3_000
const BOUND = 300
/** a user that nobody else writes to */
const LEG = 30

const stack = new AsyncDisposableStack()
let moving: MovingShop

beforeAll(async () => {
  moving = await startMovingShop(stack)
})
afterEach(async () => {
  await rm(moving.shop.pauseFile, { force: true })
  moving.writers.go()
})
afterAll(() => stack.disposeAsync())

test('a cutover behind a transaction that has passed the gate gives up and names it; nobody waits', async () => {
  await moving.ensure('dual-write')
  const frozen = await freezeAt(moving.shop, 'cutover', 'legs.after')
  const { busy, pid } = await passGate(moving.shop)
  Object.assign(moving.writers.ledger, { slowestDirect: 0, slowestIdle: 0 })
  const run = await frozen.wake()
  expect([run.code, run.stdout]).toEqual([6, expect.stringMatching(new RegExp(`FENCE_BUSY.*pid ${pid} \\(shop_app, `))])
  const { slowestDirect, slowestIdle } = moving.writers.ledger
  expect(slowestDirect - slowestIdle).toBeLessThan(BOUND)
  await busy.end()
  await moving.expectSound()
})

// legs.e2e has what such a leg does when it is woken
test.each(['before', 'inside'] as const)(
  'no client waits for a second leg that is paused %s its transaction',
  async (where) => {
    await moving.ensure('dual-write')
    await writeFile(moving.shop.pauseFile, JSON.stringify({ where, match: `/users/${LEG}/points` }))
    const headers = { 'content-type': 'application/json', 'x-user-id': String(LEG) }
    const sent = performance.now()
    const answer = await fetch(`${moving.router.url}/users/${LEG}/points`, {
      method: 'POST',
      headers,
      body: '{"add":1}',
    })
    expect(answer.status).toBe(200)
    expect(performance.now() - sent).toBeLessThan(1_000)
    const said = new RegExp(`^paused ${where} POST /users/${LEG}/points`)
    expect(await moving.shop.usersApp.stdout.find(said, AbortSignal.timeout(5_000))).not.toBeNull()
    await rm(moving.shop.pauseFile)
    await moving.expectSound()
  },
)

describe('a frozen move', () => {
  test.each(PLACES)('%s: holds up nobody, is overtaken, and changes nothing when it wakes up', async (place) => {
    const kind = place.startsWith('cutover') ? 'cutover' : 'rollback'
    const step = place.slice(kind.length + 1)
    await moving.ensure(kind === 'cutover' ? 'dual-write' : 'live')
    const { ledger } = moving.writers
    ledger.slowestDirect = 0
    ledger.slowestIdle = 0
    const frozen = await freezeAt(moving.shop, kind, step)
    const since = performance.now()

    const { side } = await moving.standing()
    if (side === 'monolith') {
      // at the fence's deadline at the latest the monolith writes on
      const accepted = () => Promise.resolve(ledger.directAt.at(-1) ?? 0)
      await eventually(accepted, (at) => at > since && at > since + (isFenced(kind, step) ? 0 : 500), FENCE + 1_500)
      const first = ledger.directAt.find((at) => at > since) ?? Number.POSITIVE_INFINITY
      expect(first - since).toBeLessThan(FENCE + 500)
      // and behind the router: the hold of a run ends with its fence
      if (isFenced(kind, step)) expect(await routedAgain(since)).toBeLessThan(FENCE + 500)
    }
    expect(ledger.slowestDirect - ledger.slowestIdle).toBeLessThan(BOUND)

    const other = await succeed(moving[kind]())
    expect(other.stdout).toContain('"event":"recovered"')
    if (side === 'monolith' && kind === 'cutover') await expectTokens()
    expect(ledger.slowestDirect - ledger.slowestIdle).toBeLessThan(BOUND)
    await moving.expectSound()
    await moving.writers.rest()
    const before = await controlState(moving.sides)
    const woken = await frozen.wake()
    expect(await controlState(moving.sides)).toEqual(before)
    // with nothing left to do it may also end well
    expect(woken.code, woken.stdout + woken.stderr).toBe(place.endsWith('finish.after') ? 0 : 5)
    await moving.expectSound()
  })
})

test.runIf(FULL)(
  'a cutover that dies behind its fence: both ways the monolith takes writes when that is over',
  async () => {
    await moving.ensure('dual-write')
    const { ledger } = moving.writers
    const failures = ledger.failures.length
    await moving.cutover({ MIGRATE_FAILPOINT: 'cutover.seal.after=kill' })
    const since = performance.now()
    expect(await routedAgain(since)).toBeLessThan(FENCE + 500)
    const direct = ledger.directAt.find((at) => at > since) ?? Number.POSITIVE_INFINITY
    expect(direct - since).toBeLessThan(FENCE + 500)
    expect(ledger.failures.slice(failures).filter(({ by }) => by === 'routed')).toEqual([])
    await succeed(moving.cutover())
    await moving.expectSound()
  },
)

test('a rollback that dies behind the closed gate, and nobody comes: the worker reopens it', async () => {
  await moving.ensure('live')
  await moving.rollback({ MIGRATE_FAILPOINT: 'rollback.close.after=kill' })
  await eventually(
    () => write(moving.apps.users, 'update users set name = name where false'),
    (code) => code === null,
    16_000,
  )
  expect(await moving.expectSound()).toMatchObject({ stage: 'live', side: 'service' })
})

/** Under another token than the one that lifted the fence: else the routers would take the new hold for over. */
async function expectTokens(): Promise<void> {
  const text = `select fencing::int as token, state from migrate.run order by id desc limit 2`
  const { rows } = await moving.sides.control.query(text)
  expect(rows).toMatchObject([{ state: 'done' }, { state: 'aborted' }])
  expect(rows[0].token).toBeGreaterThan(rows[1].token)
}

/** Milliseconds from then until a write behind the router was accepted. */
async function routedAgain(since: number): Promise<number> {
  const { routedAt } = moving.writers.ledger
  // one that was on its way when it all stopped may be answered a moment later
  const again = (): number | undefined => routedAt.find((at) => at > since + 500)
  const at = await eventually(
    async () => again(),
    (found) => found !== undefined,
  )
  return (at as number) - since
}

function names(steps: readonly { name: string }[]): string[] {
  return steps.flatMap(({ name }) => [`${name}.before`, `${name}.after`])
}

function isFenced(kind: string, step: string): boolean {
  const steps = names(planCutover('users'))
  return kind === 'cutover' && steps.indexOf(step) >= steps.indexOf('fence.after')
}
