import { setTimeout as after } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ask, Scene } from '../../test/support/memory-control.ts'
import { asLsn } from '../model/lsn.ts'

const SPLIT = { stage: 'route', percent: 100, applied: asLsn(1_000n) } as const
const user = (id: string | number) => ({ headers: { 'x-user-id': String(id) } })

/** The side that answers a read. */
async function side(url: string, path: string, ask_: Parameters<typeof ask>[2] = {}): Promise<unknown> {
  return (await ask(url, path, ask_)).headers['x-migrate-side']
}

test('0 of 2,000 own reads are stale while the service stands still; others are still split', {
  timeout: 60_000,
}, async () => {
  await using scene = await Scene.open()
  const { control, monolith } = scene
  const { address, counters } = await scene.router()
  await scene.set(SPLIT)
  monolith.answer = (request, response) => {
    if (request.method === 'PUT') control.wal += 10n
    response.end()
  }
  const sides: unknown[] = []
  const others: unknown[] = []
  const client = async (id: number): Promise<void> => {
    for (let round = 0; round < 100; round++) {
      await ask(address.url, `/users/${id}`, { method: 'PUT', body: String(round), ...user(id) })
      sides.push(await side(address.url, `/users/${id}`, user(id)))
      others.push(await side(address.url, `/users/x${id}`, user(`x${id}`)))
    }
  }
  await Promise.all(Array.from({ length: 20 }, (_, id) => client(id)))
  expect(sides).toEqual(Array(2_000).fill('monolith'))
  expect(new Set(others)).toEqual(new Set(['service']))
  expect(counters().ownWriteReads).toBe(2_000)
  control.touch('users', { applied: asLsn(control.wal) })
  control.notify()
  await control.reportThat(() => true)
  const from = performance.now()
  while ((await side(address.url, '/users/1', user(1))) !== 'service') await after(5)
  expect(performance.now() - from).toBeLessThan(500)
})

test.each([
  ['the user by another path', '/users/8', user(1)],
  ['the user by his cookie', '/users/8', { headers: { cookie: 'sid=s1' } }],
  ['the entity by another user', '/users/7/orders', user(2)],
])('a write marks %s', async (_, path, asking) => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(SPLIT)
  expect(await side(address.url, path, { ...user(9), ...asking })).toBe('service')
  scene.control.wal = 2_000n
  const headers = { 'x-user-id': '1', cookie: 'a=b; sid=s1' }
  await ask(address.url, '/users/7', { method: 'PATCH', body: '{}', headers })
  const without = 'cookie' in asking.headers ? { headers: { ...asking.headers, 'x-user-id': '3' } } : asking
  expect(await side(address.url, path, without)).toBe('monolith')
  expect(await side(address.url, '/users/5', user(5))).toBe('service')
})

test('a write on a path of no service marks its user, too', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(SPLIT)
  scene.control.wal = 2_000n
  await ask(address.url, '/checkout', { method: 'POST', body: '{}', ...user(1) })
  expect(await side(address.url, '/users/1', user(1))).toBe('monolith')
})

test.each([
  ['its Location', { location: '/users/77?x=1' }, ''],
  ['its absolute Location', { location: 'http://shop/users/77' }, ''],
  ['the id in its body', { 'content-type': 'application/json' }, '{"id":77,"name":"x"}'],
])('a created row is marked by %s', async (_, headers, body) => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(SPLIT)
  scene.control.wal = 2_000n
  scene.monolith.answer = (_request, response) => void response.writeHead(201, headers).end(body)
  const reply = await ask(address.url, '/users', { method: 'POST', body: '{}', ...user(1) })
  expect(reply).toMatchObject({ status: 201, body })
  expect(await side(address.url, '/users/77', user(77))).toBe('monolith')
  expect(await side(address.url, '/users/78', user(78))).toBe('service')
})

test('a mark is there while the write is under way, and while its position cannot be read', async () => {
  await using scene = await Scene.open()
  const { control, monolith } = scene
  const { address } = await scene.router()
  await scene.set(SPLIT)
  const answers: (() => void)[] = []
  monolith.answer = (_, response) => answers.push(() => response.end())
  const write = ask(address.url, '/users/1', { method: 'PUT', body: '{}', ...user(1) })
  await monolith.called(1)
  monolith.answer = (_, response) => void response.end('monolith')
  expect(await side(address.url, '/users/1', user(1))).toBe('monolith')
  control.positionAway = true
  for (const answer of answers) answer()
  await write
  control.touch('users', { applied: asLsn(9_999n) })
  control.notify()
  await after(50)
  expect(await side(address.url, '/users/1', user(1))).toBe('monolith')
  control.positionAway = false
  while ((await side(address.url, '/users/1', user(1))) !== 'service') await after(5)
})

test('a router that has just started trusts the service only from its own start on', async () => {
  await using scene = await Scene.open()
  scene.control.wal = 5_000n
  scene.control.set('users', SPLIT)
  const { address } = await scene.router()
  expect(await side(address.url, '/users/1', user(1))).toBe('monolith')
  scene.control.touch('users', { applied: asLsn(5_000n) })
  while ((await side(address.url, '/users/1', user(1))) !== 'service') await after(5)
})

test('an unknown applied position counts as not yet', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set({ ...SPLIT, applied: null })
  await ask(address.url, '/users/1', { method: 'PUT', body: '{}', ...user(1) })
  expect(await side(address.url, '/users/1', user(1))).toBe('monolith')
})

const OFF = { stage: 'off', percent: 0, applied: null } as const

test('what was written before the service began to follow is not forgotten when reads are split soon after', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(OFF)
  scene.control.wal = 3_000n
  await ask(address.url, '/users/1', { method: 'PUT', body: '{}', ...user(1) })
  await scene.set(SPLIT)
  expect(await side(address.url, '/users/1', user(1))).toBe('monolith')
  scene.control.touch('users', { applied: asLsn(3_000n) })
  scene.control.notify()
  while ((await side(address.url, '/users/1', user(1))) !== 'service') await after(5)
})

test('nor what was under way then', async () => {
  await using scene = await Scene.open()
  const { control, monolith } = scene
  const { address } = await scene.router()
  await scene.set(OFF)
  const answers: (() => void)[] = []
  monolith.answer = (_, response) => answers.push(() => response.end())
  const write = ask(address.url, '/users/1', { method: 'PUT', body: '{}', ...user(1) })
  await monolith.called(1)
  monolith.answer = (_, response) => void response.end('monolith')
  await scene.set({ ...SPLIT, applied: asLsn(1_500n) })
  while ((await side(address.url, '/users/2', user(2))) !== 'service') await after(5)
  control.wal = 4_000n
  for (const answer of answers) answer()
  await write
  expect(await side(address.url, '/users/1', user(1))).toBe('monolith')
  expect(await side(address.url, '/users/2', user(2))).toBe('service')
})
