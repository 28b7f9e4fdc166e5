// What is stopped for longer than its lease, or dies on another machine: others take over within 15 seconds, and what
// wakes up writes nothing any more and sends nothing to the wrong side.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FULL } from '../support/full.ts'
import { type MovingApart, startMovingApart } from '../support/moving-shop.ts'
import { each } from '../support/routed-shop.ts'
import { eventually } from '../support/two-sides.ts'

/** Users that only the queued writes of this file add points to. */
const QUEUED = Array.from({ length: 20 }, (_, i) => 60 + i)
const TAKEOVER = 15_000

const stack = new AsyncDisposableStack()
let moving: MovingApart

beforeAll(async () => {
  moving = await startMovingApart(stack)
  await moving.reach('dual-write')
})
afterAll(() => stack.disposeAsync())

test.each(FULL ? (['cutover', 'rollback'] as const) : (['cutover'] as const))(
  'a worker and a router that sleep through a %s',
  async (kind) => {
    await moving.reach(kind === 'cutover' ? 'dual-write' : 'live')
    const [, router] = moving.apart
    const zombie = moving.sync
    // the router's writers rest, or they would wait for it with nothing to tell in the end
    await moving.writers.rest()
    const before = await points()
    zombie.child.kill('SIGSTOP')
    router.child.kill('SIGSTOP')
    const stopped = performance.now()
    const queued = each(QUEUED.map(String), async (user) => {
      const headers = { 'content-type': 'application/json', 'x-user-id': user }
      const answer = await fetch(`${router.url}/users/${user}/points`, { method: 'POST', headers, body: '{"add":1}' })
      return [answer.status, answer.headers.get('x-migrate-side')]
    })
    moving.sync = await moving.shop.startSync()
    await Promise.all([carriedAgain(stopped), tokenPassed(stopped, kind === 'cutover' ? 'reverse' : 'forward')])
    await eventually(live, (instances) => !instances.includes(router.instance))
    await moving.ensure(kind === 'cutover' ? 'live' : 'dual-write')

    const epochs = await claims()
    for (const process of [zombie, router]) process.child.kill('SIGCONT')
    const side = kind === 'cutover' ? 'service' : 'monolith'
    expect(await queued).toEqual(QUEUED.map(() => [200, side]))
    // it names who has its service now
    expect(await zombie.exited).toMatchObject({ code: 5 })
    expect(zombie.stdout.text()).toContain(`/${moving.sync.pid} `)
    expect(await claims()).toEqual(epochs)
    moving.writers.go()
    expect((await moving.expectSound()).side).toBe(side)
    expect(await points()).toEqual(before.map((n) => n + 1))
  },
)

test.runIf(FULL).each(['forward', 'reverse'] as const)(
  'a worker that dies on another machine is followed by the next one: %s',
  async (direction) => {
    await moving.reach(direction === 'forward' ? 'dual-write' : 'live')
    // its lease has to run out: nobody here can see that its process is gone
    await moving.sides.control.query(`update migrate.lease set holder = 'elsewhere/1' where name = 'sync/users'`)
    await moving.sync.kill9()
    const died = performance.now()
    moving.sync = await moving.shop.startSync()
    await carriedAgain(died)
    await moving.expectSound()
  },
)

/** A change of the side that has the authority reaches the other one within the bound, counted from then. */
async function carriedAgain(since: number): Promise<void> {
  const service = (await moving.authority()) === 'service'
  const [from, to] = service ? [moving.apps.users, moving.sides.monolith] : [moving.apps.monolith, moving.sides.users]
  await from.query(`update users set name = $1 where id = 30`, [`at ${since}`])
  await eventually(
    async () => (await to.query('select name from users where id = 30')).rows[0]?.name as string,
    (name) => name === `at ${since}`,
    TAKEOVER + 5_000,
  )
  const took = performance.now() - since
  console.log(`${service ? 'reverse' : 'forward'} taken over after ${Math.round(took)} ms`)
  expect(took).toBeLessThan(TAKEOVER)
}

/** The other direction, which drops rows just now, notes a token within the bound. */
async function tokenPassed(since: number, direction: 'forward' | 'reverse'): Promise<void> {
  const { monolith, users } = moving.sides
  const [from, to] = direction === 'forward' ? [monolith, users] : [users, monolith]
  const token = `users 0 asleep-${since}`
  await from.query(`select pg_logical_emit_message(true, 'migrate.token', $1)`, [token])
  await eventually(
    async () => (await to.query('select token from migrate.checkpoint')).rows[0]?.token as string,
    (seen) => seen === token,
    TAKEOVER + 5_000,
  )
  const took = performance.now() - since
  console.log(`${direction} taken over after ${Math.round(took)} ms`)
  expect(took).toBeLessThan(TAKEOVER)
}

async function live(): Promise<string[]> {
  const text = 'select instance from migrate.router where expires_at > clock_timestamp()'
  return (await moving.sides.control.query(text)).rows.map(({ instance }) => instance as string)
}

/** Who has claimed what: a worker that goes on after it was followed would change these. */
async function claims(): Promise<unknown> {
  const { monolith, users, control } = moving.sides
  const found = await Promise.all([
    monolith.query('select pipeline, epoch from migrate.checkpoint'),
    users.query('select pipeline, epoch from migrate.checkpoint'),
    control.query(`select direction, worker, epoch from migrate.progress order by direction`),
    control.query(`select name, holder, epoch from migrate.lease where name = 'sync/users'`),
  ])
  return found.map(({ rows }) => rows)
}

async function points(): Promise<number[]> {
  const text = 'select loyalty_points as n from users where id = any($1) order by id'
  return (await moving.sides.users.query(text, [QUEUED])).rows.map(({ n }) => n as number)
}
