// Second legs that are not answered, and those whose answer is wrong, through real processes and under load.
import { rm, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { CliRun } from '../../fixtures/demo/shop.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { type MovingShop, startMovingShop, succeed } from '../support/moving-shop.ts'
import { eventually, pointsOf } from '../support/two-sides.ts'

const stack = new AsyncDisposableStack()
let moving: MovingShop
let service: RunningProcess

beforeAll(async () => {
  moving = await startMovingShop(stack)
  service = moving.shop.usersApp
})
afterEach(() => rm(moving.shop.defectFile, { force: true }))
afterAll(() => stack.disposeAsync())

test('a service that is away for a while: legs are tried again or superseded, nothing is lost or doubled', async () => {
  const ended = () =>
    row(`select count(*) filter (where state = 'superseded' and source_lsn is not null and error is not null)::int as superseded,
      count(*) filter (where state in ('open', 'revoked') and opened_at < clock_timestamp() - interval '4 s')::int as left
      from migrate.intent`)
  // away until some were given up: a short outage is bridged by their tries
  await outage(() => eventually(ended, ({ superseded }) => superseded > 20).then(() => undefined))
  await eventually(ended, ({ left }) => left === 0)
  // behind legs that wait for their turn there is no time for a second try: these users write seldom
  const retried = () => row(`select count(*)::int as n from migrate.intent where state = 'answered' and attempts > 1`)
  for (let round = 1; (await retried()).n === 0; round++) {
    expect(round).toBeLessThan(6)
    const seldom = addSeldom()
    await outage(() => moreWrites(20))
    await seldom.rest()
    await restWithLegs()
    moving.writers.go()
  }
  await moving.expectSound()
  // a short outage is nobody's business
  expect(await list()).toEqual([])
})

test('a router that is killed in the middle of its tries: every write counts once', async () => {
  const before = await pointsOf(moving.sides.monolith)
  await service.kill9()
  const seldom = addSeldom()
  const tried = () => row(`select count(*)::int as n from migrate.intent where attempts > 1 and given_up_at is null`)
  await eventually(tried, ({ n }) => n > 0)
  await moving.router.kill9()
  const acknowledged = await seldom.rest()
  service = await moving.shop.restartUsersApp()
  moving.routers = [await moving.shop.startRouter()]
  await moving.expectSound()
  for (const side of [moving.sides.monolith, moving.sides.users]) {
    const now = await pointsOf(side)
    for (const [user, { answered, lost }] of acknowledged) {
      const added = (now.get(user) ?? 0) - (before.get(user) ?? 0)
      expect([added >= answered, added <= answered + lost]).toEqual([true, true])
    }
  }
})

describe('a service that refuses what the monolith has done', () => {
  test('is a dead letter that stops a cutover, until rows were compared and put right', async () => {
    const { letter, user } = await refused()
    const { id } = letter
    expect(letter).toMatchObject({ code: 'LEG_DIFFERENT', path: `/users/${user}/points`, entity: `/users/${user}` })
    expect(letter).toMatchObject({ monolithStatus: 200, serviceStatus: 422, state: 'open' })
    expect(data(await succeed(moving.shop.cli(['dlq', 'show', id])))).toEqual({ letter: expect.anything() })
    const shown = data(await succeed(moving.shop.cli(['dlq', 'show', id, '--body'])))
    expect(shown).toMatchObject({ body: '{"add":1}' })
    expect(moving.router.stderr.text()).not.toContain('"add"')

    const plan = await moving.shop.cli(['cutover', 'users', '--dry-run'])
    expect([plan.code, plan.stdout]).toEqual([4, expect.stringContaining('"open dead letters","measured":"1"')])
    const { services } = data(await succeed(moving.shop.cli(['status', 'users']))) as { services: object[] }
    expect(services).toMatchObject([{ deadLetters: 1, unsettled: 0 }])
    await eventually(alerts, (names) => names.join() === 'leg-exhausted')

    // and something that the monolith never said: only a comparison finds it
    await plant(`update users set name = 'Mallory' where id = 45`)
    const dry = await succeed(moving.shop.cli(['dlq', 'retry', id, '--dry-run']))
    expect([data(dry), await list()]).toMatchObject([{ letters: [id] }, [{ id, state: 'open' }]])
    const retried = await succeed(moving.shop.cli(['dlq', 'retry', id]))
    expect(retried.stdout).toContain('"event":"resynced","service":"users","rows":1')
    expect(data(retried)).toEqual({ resolved: [id] })
    await moving.expectSound()
    expect(await issue(['dlq', 'retry', id])).toEqual([4, 'DEAD_LETTER_CLOSED'])
    expect(await list()).toEqual([])
    await eventually(alerts, (names) => names.length === 0)
  })

  test('is closed without a look only when that is said by name', async () => {
    const { id } = (await refused()).letter
    expect(await issue(['dlq', 'discard', id])).toEqual([4, 'CONFIRMATION_MISSING'])
    expect(await issue(['dlq', 'discard', id, '--confirm', 'orders'])).toEqual([4, 'CONFIRMATION_MISSING'])
    expect(data(await succeed(moving.shop.cli(['dlq', 'discard', id, '--dry-run'])))).toEqual({ letters: [id] })
    expect(await list()).toHaveLength(1)
    expect(data(await succeed(moving.shop.cli(['dlq', 'discard', id, '--confirm', 'users'])))).toEqual({
      discarded: [id],
    })
    expect(await list()).toEqual([])
    const all = data(await succeed(moving.shop.cli(['dlq', 'list', '--all', '--service', 'users']))) as {
      letters: Letter[]
    }
    expect(all.letters.find((each) => each.id === id)).toMatchObject({ state: 'discarded' })
  })
})

test('a service that gives a new row its own id: the route has no legs until its letter is settled', async () => {
  await restWithLegs()
  await moving.sides.users.query(`select setval(pg_get_serial_sequence('users', 'id'), 900000)`)
  await defect({ kind: 'forget-id' })
  const [letter] = await firstLetter((n) => create(`kept-${n}@example.com`), 201)
  expect(letter).toMatchObject({ code: 'ID_NOT_KEPT', route: '/users/**' })
  await rm(moving.shop.defectFile)
  await eventually(addAndCount, ({ halted }) => halted)
  const { count } = await legsOf(35)
  expect([await add(35), (await legsOf(35)).count]).toEqual([200, count])

  await succeed(moving.shop.cli(['dlq', 'retry', '--all']))
  await eventually(addAndCount, (now) => now.count > count)
  const made = `select id::int from users where email like 'kept-%' order by id`
  const [left, right] = await Promise.all([moving.sides.monolith, moving.sides.users].map((side) => side.query(made)))
  expect(right?.rows).toEqual(left?.rows)
  expect(await list()).toEqual([])
  await moving.expectSound()
})

test.each([
  [['dlq', 'show', 'seven'], 2, 'USAGE'],
  [['dlq', 'retry'], 2, 'USAGE'],
  [['dlq', 'retry', '1', '--all'], 2, 'USAGE'],
  [['dlq', 'list', '--kind', 'saga'], 2, 'USAGE'],
  [['dlq', 'list', '--service', 'user'], 2, 'SERVICE_UNKNOWN'],
  [['dlq', 'show', '999999'], 3, 'DEAD_LETTER_UNKNOWN'],
  [['dlq', 'discard', '999999', '--confirm', 'users'], 3, 'DEAD_LETTER_UNKNOWN'],
])('%j is refused with exit %i', async (args, code, error) => {
  expect(await issue(args)).toEqual([code, error])
})

interface Letter {
  readonly id: string
  readonly code: string
  readonly method: string
  readonly path: string
}

async function list(): Promise<Letter[]> {
  return (data(await succeed(moving.shop.cli(['dlq', 'list']))) as { letters: Letter[] }).letters
}

/**
 * A letter of a write that the service refuses. Writers rest, so it is the only one; a leg that is not answered in time,
 * as happens on a busy machine, says nothing, the next one may.
 */
async function refused(): Promise<{ letter: Letter; user: number }> {
  await restWithLegs()
  await defect({ kind: 'refuse', match: '/points' })
  const [letter, n] = await firstLetter((tried) => add(30 + tried), 200)
  await rm(moving.shop.defectFile)
  return { letter, user: 30 + n }
}

/** Writes until one of the writes has a letter: that one's number. */
async function firstLetter(write: (n: number) => Promise<number>, status: number): Promise<[Letter, number]> {
  for (let n = 0; n < 10; n++) {
    expect(await write(n)).toBe(status)
    const open = () => row(`select count(*)::int as n from migrate.intent where state = 'open'`)
    await eventually(open, (intents) => intents.n === 0)
    const [letter] = await eventually(list, (letters) => letters.length > 0, 1_000).catch(() => [])
    if (letter !== undefined) return [letter, n]
  }
  throw new Error('no leg was answered in time')
}

/** The service is killed, and started again after `during`. */
async function outage(during: () => Promise<void>): Promise<void> {
  await service.kill9()
  await during()
  service = await moving.shop.restartUsersApp()
}

/** The writers rest, and none of their legs is under way. */
async function restWithLegs(): Promise<void> {
  await moving.writers.rest()
  const open = () => row(`select count(*)::int as n from migrate.intent where state = 'open'`)
  await eventually(open, ({ n }) => n === 0)
}

function data(run: CliRun): unknown {
  return (JSON.parse(lastLine(run)) as { data: unknown }).data
}

async function issue(args: readonly string[]): Promise<[number | null, string | undefined]> {
  const run = await moving.shop.cli(args)
  return [run.code, (JSON.parse(lastLine(run)) as { issues: { code: string }[] }).issues[0]?.code]
}

function lastLine({ stdout }: CliRun): string {
  return stdout.trimEnd().split('\n').at(-1) ?? ''
}

async function row(text: string): Promise<any> {
  return (await moving.sides.monolith.query(text)).rows[0]
}

/** Names of those that are raised and not over. */
async function alerts(): Promise<string[]> {
  const { services } = data(await succeed(moving.shop.cli(['status', 'users']))) as {
    services: { alerts: { name: string }[] }[]
  }
  return services.flatMap((service) => service.alerts.map(({ name }) => name))
}

function defect(content: object): Promise<void> {
  return writeFile(moving.shop.defectFile, JSON.stringify(content))
}

/** Past the gate and unseen by the sync. */
async function plant(text: string): Promise<void> {
  await moving.sides.users.query(`begin; alter table users disable trigger migrate_gate; ${text};
    alter table users enable always trigger migrate_gate;
    select pg_logical_emit_message(true, 'migrate.apply', 'users forward 0'); commit`)
}

/** How many legs this user's writes had, and whether some of them had none. */
async function legsOf(user: number): Promise<{ count: number; halted: boolean }> {
  const { n } = await row(`select count(*)::int as n from migrate.intent where path = '/users/${user}/points'`)
  return { count: n, halted: n < (added.get(user) ?? 0) }
}

async function addAndCount() {
  expect(await add(35)).toBe(200)
  return legsOf(35)
}

const added = new Map<number, number>()

/** Writes of users 10 to 29, one after the other, until told to rest; then how often each was answered, or not. */
function addSeldom() {
  const counts = new Map<number, { answered: number; lost: number }>()
  let resting = false
  const running = (async () => {
    for (let n = 0; !resting; n++) {
      const user = 10 + (n % 20)
      const count = counts.get(user) ?? { answered: 0, lost: 0 }
      counts.set(user, count)
      await add(user).then(
        (status) => (status === 200 ? count.answered++ : count.lost++),
        () => count.lost++,
      )
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
  })()
  return {
    async rest() {
      resting = true
      await running
      return counts
    },
  }
}

async function add(user: number): Promise<number> {
  added.set(user, (added.get(user) ?? 0) + 1)
  return send(user, `/users/${user}/points`, { add: 1 })
}

function create(email: string): Promise<number> {
  return send(1, '/users', { email, name: 'Kept' })
}

async function send(user: number, path: string, body: object): Promise<number> {
  const response = await fetch(`${moving.router.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-user-id': String(user) },
    body: JSON.stringify(body),
  })
  await response.text()
  return response.status
}

async function moreWrites(count: number): Promise<void> {
  const { ledger } = moving.writers
  const wanted = ledger.acknowledged + count
  await eventually(
    () => Promise.resolve(ledger.acknowledged),
    (now) => now >= wanted,
  )
}
