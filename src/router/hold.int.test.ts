import { setTimeout as after } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Reply, ask, MemoryControl, Scene, Upstream } from '../../test/support/memory-control.ts'
import { asLsn } from '../model/lsn.ts'
import type { ServicePolicy } from '../model/policy.ts'

const HOLD = { hold: { run: 1, leftMs: 60_000 } } as const
const MONOLITH = { side: 'monolith', epoch: 1 } as const
const SERVICE = { side: 'service', epoch: 2 } as const
const POST = { method: 'POST', body: '{"n":1}', headers: { 'x-user-id': '1' } }

/** Starts a write every 5 ms until told to stop. */
function load(url: string): { stop(): Promise<Reply[]> } {
  const replies: Promise<Reply>[] = []
  const timer = setInterval(
    () => replies.push(ask(url, `/users/${replies.length}`, { ...POST, body: String(replies.length) })),
    5,
  )
  return {
    stop: () => {
      clearInterval(timer)
      return Promise.all(replies)
    },
  }
}

function slow(upstream: Upstream): void {
  upstream.answer = (_, response) => void after(8).then(() => response.end('done'))
}

test('there and back under 200 writes/s: no error, one side at a time, nothing lost or doubled', async () => {
  await using scene = await Scene.open()
  const { control, monolith, users } = scene
  const { address, counters } = await scene.router()
  await scene.set({ stage: 'dual-write', authority: MONOLITH })
  slow(monolith)
  slow(users)
  const writes = load(address.url)
  /** Holds, waits until nothing is under way, and returns how many calls both sides have had. */
  const drained = async (): Promise<[number, number]> => {
    const version = control.set('users', HOLD)
    await control.reportThat((report) => report.version >= version && report.services['users']?.writes === 0)
    return [monolith.calls.length, users.calls.length]
  }
  const move = async (steps: readonly Partial<ServicePolicy>[]): Promise<void> => {
    for (const step of steps) {
      await after(60)
      await scene.set(step)
    }
  }
  await monolith.called(40)
  const before = await drained()
  await move([{ fence: 'closed' }, { authority: SERVICE }, { stage: 'live' }])
  expect([monolith.calls.length, users.calls.length]).toEqual(before)
  await scene.set({ hold: null })
  await users.called(60)
  const after1 = await drained()
  expect(after1[0]).toBe(before[0])
  await move([{ authority: { side: 'monolith', epoch: 3 } }, { stage: 'dual-write' }, { fence: 'open' }])
  expect([monolith.calls.length, users.calls.length]).toEqual(after1)
  await scene.set({ hold: null })
  await monolith.called(before[0] + 40)
  const replies = await writes.stop()
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]))
  expect(users.calls).toHaveLength(after1[1])
  const sent = [...monolith.calls, ...users.calls].map(({ body }) => Number(body)).sort((a, b) => a - b)
  expect(sent).toEqual(replies.map((_, index) => index))
  expect(counters()).toMatchObject({ heldExpired: 0, heldRefused: 0 })
  expect(counters().released).toBe(counters().held)
  expect(users.calls.every(({ headers }) => headers['x-migrate-epoch'] === '2')).toBe(true)
})

test('held writes go in the order in which they came', async () => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router()
  await scene.set({ stage: 'route', ...HOLD })
  const replies: Promise<Reply>[] = []
  for (let index = 0; index < 20; index++) {
    replies.push(ask(address.url, '/users/1', { ...POST, body: String(index) }))
    while (counters().held <= index) await after(1)
  }
  expect(scene.monolith.calls).toHaveLength(0)
  scene.control.touch('users', { hold: { run: 1, leftMs: 0 } })
  await Promise.all(replies)
  expect(scene.monolith.calls.map(({ body }) => Number(body))).toEqual(replies.map((_, index) => index))
})

test('reads go on while writes are held', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set({ stage: 'route', ...HOLD })
  expect(await ask(address.url, '/users/1')).toMatchObject({ body: 'monolith' })
  expect(await ask(address.url, '/orders', POST)).toMatchObject({ body: 'monolith' })
})

test.each([
  ['too many', { heldRequests: 2 }, 'too many writes'],
  ['too many bytes', { heldBytes: 20 }, 'too many writes'],
])('%s held: 503 with Retry-After, unsent', async (_, limits, reason) => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router({ limits })
  await scene.set({ stage: 'route', ...HOLD })
  const held = [ask(address.url, '/users/1', POST), ask(address.url, '/users/2', POST)]
  while (counters().held < 2) await after(1)
  const refused = await ask(address.url, '/users/3', POST)
  expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
  expect(refused.body).toContain(reason)
  await scene.set({ hold: null })
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200])
  expect(scene.monolith.calls).toHaveLength(2)
})

test('held for too long: 503, unsent, also when the hold ends later', async () => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router({ limits: { heldMs: 150 } })
  await scene.set({ stage: 'route', ...HOLD })
  const reply = await ask(address.url, '/users/1', POST)
  expect(reply).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
  await scene.set({ hold: null })
  expect(await ask(address.url, '/users/2', POST)).toMatchObject({ status: 200 })
  expect(scene.monolith.calls.map(({ url }) => url)).toEqual(['/users/2'])
  expect(counters()).toMatchObject({ held: 1, released: 0, heldExpired: 1 })
})

test('a client that has gone is dropped unsent', async () => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router()
  await scene.set({ stage: 'route', ...HOLD })
  const client = new AbortController()
  const gone = ask(address.url, '/users/gone', { ...POST, signal: client.signal })
  const stays = ask(address.url, '/users/stays', POST)
  while (counters().held < 2) await after(1)
  client.abort()
  await expect(gone).rejects.toThrow()
  while (counters().heldGone < 1) await after(1)
  await scene.set({ hold: null })
  expect(await stays).toMatchObject({ status: 200 })
  expect(scene.monolith.calls.map(({ url }) => url)).toEqual(['/users/stays'])
})

test('control away: nothing is released, by no timer; 503 when the bound is over', async () => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router({ limits: { heldMs: 400, controlMs: 50 } })
  await scene.set({ stage: 'route', ...HOLD })
  scene.control.away = true
  scene.control.touch('users', { hold: null })
  const reply = await ask(address.url, '/users/1', POST)
  expect(reply.status).toBe(503)
  expect(reply.body).toContain('control database cannot be read')
  expect(scene.monolith.calls).toHaveLength(0)
  expect(counters().policyFailures).toBeGreaterThan(2)
  const held = ask(address.url, '/users/2', POST)
  while (counters().held < 2) await after(1)
  scene.control.away = false
  expect(await held).toMatchObject({ status: 200 })
})

test('after a switch writes wait until every live router obeys it, once', async () => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router()
  await scene.set({ stage: 'live', authority: SERVICE, ...HOLD })
  scene.control.extraLaggards = 1
  await scene.set({ hold: null })
  const held = ask(address.url, '/users/1', POST)
  while (counters().held < 1) await after(1)
  await after(120)
  expect(scene.users.calls).toHaveLength(0)
  scene.control.extraLaggards = 0
  expect(await held).toMatchObject({ body: 'users' })
  scene.control.extraLaggards = 1
  await scene.set({ percent: 3 })
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ body: 'users' })
  expect(counters().held).toBe(1)
})

test('a body too large to keep is refused while writes are held, and streamed otherwise', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router({ limits: { bodyBytes: 1_000 } })
  const big = Buffer.alloc(5_000, 'x')
  await scene.set({ stage: 'dual-write', legs: true })
  expect(await ask(address.url, '/users/1', { ...POST, body: big })).toMatchObject({ status: 200 })
  const chunked = { ...POST, body: big, headers: { 'transfer-encoding': 'chunked' } }
  expect(await ask(address.url, '/users/1', chunked)).toMatchObject({ status: 200 })
  expect(scene.monolith.calls.map(({ body }) => body.length)).toEqual([5_000, 5_000])
  await scene.set(HOLD)
  expect(await ask(address.url, '/users/1', { ...POST, body: big })).toMatchObject({ status: 413 })
  expect(await ask(address.url, '/users/1', chunked)).toMatchObject({ status: 413 })
  expect(scene.monolith.calls).toHaveLength(2)
})

test('a write under way is reported under the new version until its answer is in', async () => {
  await using scene = await Scene.open()
  const { control, monolith } = scene
  const { address } = await scene.router()
  await scene.set({ stage: 'route' })
  const answers: (() => void)[] = []
  monolith.answer = (_, response) => answers.push(() => response.end('late'))
  const reply = ask(address.url, '/users/1', POST)
  await monolith.called(1)
  const version = control.set('users', HOLD)
  const first = await control.reportThat((report) => report.version >= version)
  expect(first.services['users']).toEqual({ writes: 1, legs: 0, held: 0 })
  for (const answer of answers) answer()
  expect(await reply).toMatchObject({ body: 'late' })
  await control.reportThat((report) => report.services['users']?.writes === 0)
  const drained = control.reported.findIndex(
    ({ version: of, services }) => of >= version && services['users']?.writes === 0,
  )
  expect(control.reported.slice(drained).every(({ services }) => services['users']?.writes === 0)).toBe(true)
})

test('a write whose client has gone stays counted until the monolith has answered', async () => {
  await using scene = await Scene.open()
  const { control, monolith } = scene
  const { address } = await scene.router()
  await scene.set({ stage: 'route' })
  const answers: (() => void)[] = []
  monolith.answer = (_, response) => answers.push(() => response.end('x'.repeat(300_000)))
  const client = new AbortController()
  const gone = ask(address.url, '/users/1', { ...POST, signal: client.signal })
  await monolith.called(1)
  client.abort()
  await expect(gone).rejects.toThrow()
  // What must not happen has no event: by now the router has seen the client's connection close.
  await after(100)
  const version = control.set('users', HOLD)
  const report = await control.reportThat((each) => each.version >= version)
  expect(report.services['users']?.writes).toBe(1)
  for (const answer of answers) answer()
  await control.reportThat((each) => each.version >= version && each.services['users']?.writes === 0)
})

test('without any policy: reads and foreign writes go to the monolith, writes of a service are refused', async () => {
  await using scene = await Scene.open()
  scene.control.away = true
  const { address, policy } = await scene.router()
  expect(policy()).toBe(null)
  expect(await ask(address.url, '/users/1')).toMatchObject({ body: 'monolith' })
  expect(await ask(address.url, '/orders', POST)).toMatchObject({ body: 'monolith' })
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
  expect(scene.monolith.calls).toHaveLength(2)
  scene.control.away = false
  await scene.control.reportThat((report) => report.instance === 'router-1')
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ body: 'monolith' })
})

test("a service that the control database does not know is the monolith's", async () => {
  await using scene = await Scene.open()
  const empty = new MemoryControl()
  const { address } = await scene.router({ control: empty.connect() })
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ body: 'monolith' })
  expect(await ask(address.url, '/users/1')).toMatchObject({ body: 'monolith' })
})

test('two instances obey a change within a second, even when its notification is lost', async () => {
  await using scene = await Scene.open()
  const limits = { pollMs: 800 }
  const one = await scene.router({ limits })
  const two = await scene.router({ limits })
  for (const mute of [false, true]) {
    scene.control.mute = mute
    const from = performance.now()
    await scene.set({ stage: 'route', percent: mute ? 0 : 100, applied: asLsn(1_000n) })
    expect(performance.now() - from).toBeLessThan(1_000)
    for (const { address } of [one, two]) {
      const reply = await ask(address.url, '/users/1', { headers: { 'x-user-id': '1' } })
      expect(reply.body).toBe(mute ? 'monolith' : 'users')
    }
  }
})

test('an impossible policy or an epoch from before a switch is not taken', async () => {
  await using scene = await Scene.open()
  const { address, counters, policy } = await scene.router()
  await scene.set({ stage: 'live', authority: { side: 'service', epoch: 5 } })
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ body: 'users' })
  const good = scene.control.version
  for (const change of [{ authority: MONOLITH, stage: 'route' }, { percent: 101 }, { stage: 'lively' }] as object[]) {
    const rejected = counters().policyRejected
    scene.control.set('users', { stage: 'live', authority: { side: 'service', epoch: 5 }, percent: 0, ...change })
    while (counters().policyRejected === rejected) await after(1)
    expect(policy()?.version).toBe(good)
  }
  expect(await ask(address.url, '/users/1', POST)).toMatchObject({ body: 'users' })
})
