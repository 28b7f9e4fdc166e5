import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { planCutover } from '../../src/cutover/plan.ts'
import { freezeAt } from '../support/frozen.ts'
import { FULL } from '../support/full.ts'
import { connect, type MovingShop, passGate, startMovingShop, succeed } from '../support/moving-shop.ts'
import { controlState, eventually } from '../support/two-sides.ts'

const DRIFT = 40
const stack = new AsyncDisposableStack()
let moving: MovingShop
/** as migrate's own role in the service's database: the one that its gate lets pass */
let apply: pg.Client

beforeAll(async () => {
  moving = await startMovingShop(stack)
  apply = await connect(moving.shop.users.apply, 'migrate/test')
  stack.defer(() => apply.end())
})
// one that fails leaves the next ones what they need
afterEach(() => moving.ensure('dual-write'))
afterAll(() => stack.disposeAsync())

// cutover-frozen.e2e has one behind a transaction that has passed the gate: it measures who waits
describe('a cutover that cannot be', () => {
  test('with rows that differ switches nothing', async () => {
    await plant(1)
    const run = await moving.cutover()
    expect([run.code, run.stdout]).toEqual([3, expect.stringContaining('DRIFT_FOUND')])
    expect((await moving.standing()).stage).toBe('dual-write')
    await plant(-1)
    await moving.expectSound()
  })

  test('with rows that begin to differ inside the fence puts everything back', async () => {
    const frozen = await freezeAt(moving.shop, 'cutover', 'verify-all.after')
    await plant(1)
    const run = await frozen.wake()
    expect([run.code, run.stdout]).toEqual([3, expect.stringMatching(/"step":"verify-touched","state":"failed"/)])
    await plant(-1)
    expect((await moving.expectSound()).side).toBe('monolith')
  })

  test('with a worker that has died waits for its token in vain, and writes go on', async () => {
    const frozen = await freezeAt(moving.shop, 'cutover', 'legs.after')
    await moving.sync.kill9()
    const before = moving.writers.ledger.acknowledged
    const run = await frozen.wake()
    expect([run.code, run.stdout]).toEqual([6, expect.stringMatching(/STEP_TIMEOUT.*in step \\"drain\\"/)])
    await eventually(
      () => Promise.resolve(moving.writers.ledger.acknowledged),
      (now) => now > before + 100,
    )
    moving.sync = await moving.shop.startSync()
    expect((await moving.expectSound()).side).toBe('monolith')
  })

  test('with a worker that is gone is not begun', async () => {
    await moving.sync.stop()
    const before = await controlState(moving.sides)
    const run = await moving.cutover()
    expect([run.code, run.stdout]).toEqual([4, expect.stringContaining('forward worker heard of')])
    expect(withoutSequences(await controlState(moving.sides))).toEqual(withoutSequences(before))
    moving.sync = await moving.shop.startSync()
    await moving.expectSound()
  })

  test('with a write under way behind a router that does not end is given up before anything is fenced', async () => {
    const frozen = await freezeAt(moving.shop, 'cutover', 'hold.before')
    const slow = await connect(moving.shop.monolith.app)
    await slow.query('begin')
    await slow.query('select from users where id = 43 for update')
    const headers = { 'content-type': 'application/json', 'x-user-id': '43' }
    const answer = fetch(`${moving.router.url}/users/43/points`, { method: 'POST', headers, body: '{"add":1}' })
    await eventually(
      async () => (await moving.sides.monolith.query('select 1 from pg_locks where not granted')).rows.length,
      (waiting) => waiting > 0,
    )
    const run = await frozen.wake()
    await slow.query('commit')
    await slow.end()
    expect((await answer).status).toBe(200)
    expect([run.code, run.stdout]).toEqual([6, expect.stringContaining('in step \\"hold\\"')])
    expect((await moving.expectSound()).side).toBe('monolith')
  })

  test.runIf(FULL)('behind a transaction that has been open for long is not begun', async () => {
    const { busy, pid } = await passGate(moving.shop)
    const age = `select extract(epoch from clock_timestamp() - xact_start)::float8 as s from pg_stat_activity where pid = ${pid}`
    await eventually(
      async () => (await moving.sides.monolith.query(age)).rows[0].s,
      (seconds: number) => seconds > 5,
    )
    const run = await moving.cutover()
    expect([run.code, run.stdout]).toEqual([4, expect.stringContaining(`pid ${pid} (shop_app`)])
    await busy.end()
    await moving.expectSound()
  })
})

describe('a router', () => {
  test.runIf(FULL)('that has died is waited for: its lease ends before a cutover begins', async () => {
    const other = await moving.shop.startRouter()
    await eventually(routers, (count) => count === 2)
    await other.kill9()
    const run = await moving.cutover()
    // silent for less than the gate notices: then it does not answer to the hold
    expect([4, 6]).toContain(run.code)
    expect((await moving.standing()).stage).toBe('dual-write')
    await eventually(routers, (count) => count === 1)
    await moving.expectSound()
  })

  // routers-lost.e2e has one that is stopped there
  test.runIf(FULL)('that dies while it holds keeps no switch from happening: it had nothing under way', async () => {
    const other = await moving.shop.startRouter()
    await eventually(routers, (count) => count === 2)
    const frozen = await freezeAt(moving.shop, 'cutover', 'hold.after')
    await other.kill9()
    const run = await frozen.wake()
    // it had said that it holds and has nothing under way: the dead do not write
    expect(run.code, run.stdout).toBe(0)
    expect((await moving.expectSound()).side).toBe('service')
    await succeed(moving.rollback())
  })

  test.runIf(FULL)('that is frozen while a service moves there and back sends nothing that counts twice', async () => {
    const other = await moving.shop.startRouter()
    await eventually(routers, (count) => count === 2)
    const before = await points(41)
    other.child.kill('SIGSTOP')
    const late = fetch(`${other.url}/users/41/points`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-user-id': '41' },
      body: '{"add":1}',
    }).then(
      (response) => response.status,
      () => null,
    )
    await eventually(routers, (count) => count === 1)
    await succeed(moving.cutover())
    other.child.kill('SIGCONT')
    const status = await late
    expect((await moving.expectSound()).side).toBe('service')
    expect(await points(41)).toBe(before + (status === 200 ? 1 : 0))
    await other.stop()
    await succeed(moving.rollback())
  })
})

describe('two runs', () => {
  test('at once: one moves, the other one does not', async () => {
    const runs = await Promise.all([moving.cutover(), moving.cutover()])
    const codes = runs.map((run) => run.code ?? -1).sort((a, b) => a - b)
    expect(codes[0]).toBe(0)
    // locked while the first one works; once it has ended there is nothing to do
    expect([4, 5]).toContain(codes[1])
    expect((await moving.expectSound()).side).toBe('service')
    await succeed(moving.rollback())
  })

  test('while one lives: the second is locked out', async () => {
    const busy = await connect(moving.shop.monolith.superuser)
    const holder = await freezeAt(moving.shop, 'cutover', 'verify-all.before')
    // it goes on, and waits in its comparison until the table may be read
    await busy.query('begin')
    await busy.query('lock migrate.progress in access exclusive mode')
    const first = holder.wake()
    const second = await moving.cutover()
    expect([second.code, second.stdout]).toEqual([5, expect.stringContaining('LOCKED')])
    await busy.query('commit')
    await busy.end()
    expect([0, 6]).toContain((await first).code)
    await moving.expectSound()
    await moving.ensure('dual-write')
  })
})

test('a dry run changes nothing and prints the very steps that run', async () => {
  await moving.expectSound()
  await moving.writers.rest()
  const before = await controlState(moving.sides)
  const dry = await succeed(moving.shop.cli(['cutover', 'users', '--dry-run']))
  expect(await controlState(moving.sides)).toEqual(before)
  moving.writers.go()
  const steps = (JSON.parse(dry.stdout) as { data: { steps: { name: string; text: string }[] } }).data.steps
  const run = await succeed(moving.cutover())
  const ran = run.stdout
    .split('\n')
    .filter((line) => line.includes('"event":"step"') && line.includes('"state":"end"'))
    .map((line) => JSON.parse(line) as { step: string; text: string })
  expect(ran.map(({ step, text }) => [step, text])).toEqual(steps.map(({ name, text }) => [name, text]))
  expect(steps.map(({ name }) => name)).toEqual(planCutover('users').map(({ name }) => name))
  await succeed(moving.rollback())
  await moving.expectSound()
})

/** Changes a row of the service behind everybody's back. */
async function plant(add: number): Promise<void> {
  await apply.query('update users set loyalty_points = loyalty_points + $1 where id = $2', [add, DRIFT])
}

async function routers(): Promise<number> {
  const text = 'select count(*)::int as n from migrate.router where expires_at > clock_timestamp()'
  return (await moving.sides.monolith.query(text)).rows[0].n
}

async function points(id: number): Promise<number> {
  return (await moving.sides.users.query('select loyalty_points as n from users where id = $1', [id])).rows[0].n
}

/** Writers that go on move the sequences. */
function withoutSequences(state: unknown): unknown {
  return JSON.parse(JSON.stringify(state, (key, value: unknown) => (key === 'sequence' ? undefined : value)))
}
