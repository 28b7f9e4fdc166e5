import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { driftRows } from '../../fixtures/load/drift.ts'
import { bucketOf, inside } from '../../src/router/bucket.ts'
import {
  add,
  ask,
  each,
  readersIn,
  type Reply,
  type RoutedShop,
  type Router,
  routedTo,
  startRoutedShop,
} from '../support/routed-shop.ts'

// Two routers in front of the shop, with its control database on a way of its own.

let routed: RoutedShop
let routers: [Router, Router]
let sync: RunningProcess
let usersApp: RunningProcess
beforeAll(async () => {
  routed = await startRoutedShop()
  usersApp = routed.shop.usersApp
  sync = await routed.startSync()
  routers = await Promise.all([routed.startRouter(), routed.startRouter()])
})
afterAll(() => routed[Symbol.asyncDispose]())

describe('route set is obeyed by both routers within a second', () => {
  // inside 75 %, outside 25 %
  const [reader = ''] = readersIn(30, 70, 1)

  test('told by NOTIFY', async () => {
    const delays: number[] = []
    for (const percent of [75, 25, 75, 25]) {
      await set(percent)
      delays.push(...(await obeyed(reader, percent > 50 ? 'service' : 'monolith')))
    }
    console.log(`with NOTIFY: ${delays.map(Math.round).join(', ')} ms after the command's end`)
    expect(Math.max(...delays)).toBeLessThan(1_000)
    // the poll alone would take 400 ms on average
    expect(delays.sort((a, b) => a - b)[3]).toBeLessThan(250)
  })

  test('found by the poll when no NOTIFY comes', async () => {
    const delays: number[] = []
    for (const percent of [75, 25, 75, 25]) {
      // as the command does it, but for its pg_notify
      await routed.controlSql.query(
        `update migrate.service set percent = $1, version = nextval('migrate.policy_version') where service = 'users'`,
        [percent],
      )
      delays.push(...(await obeyed(reader, percent > 50 ? 'service' : 'monolith')))
    }
    console.log(`without NOTIFY: ${delays.map(Math.round).join(', ')} ms after the commit`)
    expect(Math.max(...delays)).toBeLessThan(1_000)
  })
})

describe('the share of the reads', () => {
  const readers = readersIn(0, 100, 600)

  test.each([0, 25, 62.5, 100])('of %s percent is exactly those buckets, alike in both routers', async (percent) => {
    await set(percent)
    const [one = '', other = ''] = [readers.find((key) => inside(bucketOf(key), percent)), readers[0]]
    await obeyed(percent === 0 ? other : one, percent === 0 ? 'monolith' : 'service')
    const sides = await Promise.all(
      routers.map((router) => each(readers, (user, i) => ask(router.url, { path: `/users/${1 + (i % 500)}`, user }))),
    )
    for (const replies of sides) {
      const expected = readers.map((key) => (inside(bucketOf(key), percent) ? 'service' : 'monolith'))
      expect(replies.map(({ side }) => side)).toEqual(expected)
      // the router says what the upstreams themselves say
      expect(replies.map(({ shop }) => shop)).toEqual(expected)
      expect(replies.every(({ status }) => status === 200)).toBe(true)
      const share = replies.filter(({ side }) => side === 'service').length / readers.length
      expect(Math.abs(share - percent / 100)).toBeLessThan(0.06)
    }
  })

  test('without a key everything is the monolith’s', async () => {
    const replies = await each(Array.from({ length: 20 }, String), () =>
      ask(routers[0].url, { path: '/users/1', user: '' }),
    )
    expect(new Set(replies.map(({ side }) => side))).toEqual(new Set(['monolith']))
  })
})

describe('everybody sees their own writes', () => {
  const TRIES = 2_000
  const users = Array.from({ length: 20 }, (_, i) => String(101 + i))

  test('from the monolith until they are applied, then from the service again', async () => {
    await set(100)
    await obeyed('reader', 'service')
    const [router] = routers
    for (const user of users.slice(0, 5)) {
      const balance = (await add(router, user)).body.loyaltyPoints
      const replies: Reply[] = []
      do replies.push(await ask(router.url, { path: `/users/${user}`, user }))
      while (replies.at(-1)?.side !== 'service')
      expect(new Set(replies.map(({ body }) => body.loyaltyPoints))).toEqual(new Set([balance]))
    }
  })

  test(`while the worker is stopped: 0 stale of ${TRIES}`, async () => {
    await sync.stop('SIGTERM')
    const [router] = routers
    let stale = 0
    const sides = new Set<string>()
    await each(users, async (user) => {
      for (let n = 0; n < TRIES / users.length; n++) {
        const { body: written } = await add(router, user)
        const { body, side } = await ask(router.url, { path: `/users/${user}`, user })
        if (body.loyaltyPoints !== written.loyaltyPoints) stale += 1
        sides.add(side)
      }
    })
    expect({ stale, sides: [...sides] }).toEqual({ stale: 0, sides: ['monolith'] })
    // those who have written nothing go on with the service
    expect((await ask(router.url, { path: '/users/1', user: '1' })).side).toBe('service')
  })

  test('when the worker is back the service answers, with all of it', async () => {
    sync = await routed.startSync()
    const [router] = routers
    await each(users, async (user) => {
      const expected = (await ask(routed.shop.monolithUrl, { path: `/users/${user}`, user })).body.loyaltyPoints
      for (;;) {
        const { side, body } = await ask(router.url, { path: `/users/${user}`, user })
        expect(body.loyaltyPoints).toBe(expected)
        if (side === 'service') return
      }
    })
  })
})

describe('the service is killed with kill -9', () => {
  test.each(['route', 'dual-write'])('at stage %s no read fails, and no write is lost or doubled', async (stage) => {
    const users = Array.from({ length: 8 }, (_, i) => String((stage === 'route' ? 201 : 301) + i))
    await set(100)
    if (stage === 'dual-write') await routed.data(['dual-write', 'users'])
    await obeyed('reader', 'service')
    const [router] = routers
    const before = await pointsOf(users)
    const sides: string[] = []
    const killed: Promise<unknown>[] = []
    await each(users, async (user) => {
      for (let n = 0; n < 60; n++) {
        if (n === 20 && killed.length === 0) killed.push(usersApp.kill9())
        expect((await add(router, user)).status).toBe(200)
        // a reader who has written nothing is the service's
        const { status, side } = await ask(router.url, { path: `/users/${n + 1}`, user: `nobody-${user}` })
        expect(status).toBe(200)
        sides.push(side)
      }
    })
    await Promise.all(killed)
    expect(new Set(sides)).toEqual(new Set(['service', 'fallback']))
    expect(await pointsOf(users)).toEqual(before.map((points) => points + 60))
    usersApp = await routed.shop.restartUsersApp()
    await obeyed('reader', 'service')
    await untilEqual()
  })
})

test('route show names the routers and what they obey', async () => {
  await set(40)
  await obeyed(readersIn(0, 30, 1)[0] ?? '', 'service')
  const { services, routers: live } = await routed.data<Shown>(['route', 'show'])
  expect(services).toMatchObject([{ service: 'users', stage: 'dual-write', percent: 40, legs: true }])
  expect(live.map(({ version }) => version)).toEqual([services[0]?.version, services[0]?.version])
  for (const { pid } of routers) expect(live.filter(({ instance }) => instance.endsWith(`/${pid}`))).toHaveLength(1)
  const { stdout } = await routed.run(['route', 'show'])
  expect(stdout).toMatch(/^service {2}stage {7}reads {2}legs {2}version\nusers {4}dual-write {3}40 % {2}yes {3}\d+\n\n/)
  expect(stdout).not.toContain('behind')
})

interface Shown {
  readonly services: readonly { readonly service: string; readonly version: number }[]
  readonly routers: readonly { readonly instance: string; readonly version: number }[]
}

function set(percent: number): Promise<unknown> {
  return routed.data(['route', 'set', 'users', '--percent', String(percent)])
}

/** Milliseconds until each router sends this reader there. */
function obeyed(reader: string, side: string): Promise<number[]> {
  return routedTo(routers, reader, side)
}

async function pointsOf(users: readonly string[]): Promise<number[]> {
  const replies = await each(users, (user) => ask(routed.shop.monolithUrl, { path: `/users/${user}`, user }))
  return replies.map(({ body }) => body.loyaltyPoints ?? Number.NaN)
}

/** Until the service has the very rows of the monolith. */
async function untilEqual(): Promise<void> {
  const [monolith, service] = [
    new pg.Client(routed.shop.monolith.superuser),
    new pg.Client(routed.shop.users.superuser),
  ]
  await Promise.all([monolith.connect(), service.connect()])
  const tables = [{ table: 'users', key: ['id'] }]
  const deadline = performance.now() + 20_000
  while ((await driftRows(monolith, service, tables)).count > 0) expect(performance.now()).toBeLessThan(deadline)
  await Promise.all([monolith.end(), service.end()])
}
