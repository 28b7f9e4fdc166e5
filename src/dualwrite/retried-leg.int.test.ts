// Legs that are not answered at once, and those whose answer is wrong.
import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { dualWrite } from '../../test/support/memory-legs.ts'
import { asLsn } from '../model/lsn.ts'

const APPLIED = { 'x-migrate-leg': 'applied' }

/** Answers the first calls as given, the rest as an `idempotent()` that works. */
function answers(...first: ((response: ServerResponse) => void)[]) {
  let call = 0
  return (_: unknown, response: ServerResponse): void => {
    const answer = first[call++]
    if (answer === undefined) response.writeHead(200, APPLIED).end()
    else answer(response)
  }
}

const reset = (response: ServerResponse): void => void response.socket?.resetAndDestroy()
const gateway =
  (status: number) =>
  (response: ServerResponse): void =>
    void response.writeHead(status).end()
const silence = (): void => undefined

test.each([
  ['a connection that breaks', reset],
  ['a gateway without a service', gateway(503)],
  ['an error on the way to the handler', gateway(500)],
  ['no answer', silence],
])('%s: tried again with the same key, until it is answered', async (_, failure) => {
  const { scene, intents, legs, post, ended } = await dualWrite()
  scene.users.answer = answers(failure, failure)
  await post('/users/1')
  await ended()
  const keys = scene.users.calls.map(({ headers }) => headers['idempotency-key'])
  expect([keys.length, new Set(keys)]).toEqual([3, new Set([intents.opened[0]?.key])])
  expect(scene.users.calls.map(({ body }) => body)).toEqual(Array(3).fill('{"n":1}'))
  expect(intents.settled).toMatchObject([
    { outcome: { state: 'answered', verdict: 'equal' }, progress: { attempts: 3 } },
  ])
  expect(legs.counters()).toMatchObject({ sent: 1, retried: 2, answered: 1, failed: 0 })
})

test('a service that comes up within the deadline gets the leg that was refused a connection', async () => {
  const { scene, intents, post, ended } = await dualWrite({ legDeadlineMs: 5_000 })
  const { port } = new URL(scene.users.url)
  await scene.users.close()
  await post('/users/1')
  while (intents.noted.size === 0) await new Promise((resolve) => setImmediate(resolve))
  await new Promise<void>((resolve) => scene.users.server.listen(Number(port), '127.0.0.1', resolve))
  await scene.users.called(1)
  await ended()
  expect(intents.settled).toMatchObject([{ outcome: { state: 'answered', verdict: 'equal' } }])
})

test('a leg of the same entity waits behind the tries of the one before it', async () => {
  const { scene, post, ended } = await dualWrite({ legDeadlineMs: 3_000 })
  scene.users.answer = answers(reset, reset)
  await post('/users/1', { body: 'first' })
  await post('/users/1', { body: 'second' })
  await post('/users/2', { body: 'other' })
  await ended()
  const own = scene.users.calls.filter(({ url }) => url === '/users/1').map(({ body }) => body)
  expect(own.at(-1)).toBe('second')
  expect(own.slice(0, -1).every((body) => body === 'first')).toBe(true)
})

test('no try outlives the deadline; what was tried is noted with the position', async () => {
  const { scene, intents, legs, post, ended } = await dualWrite({ legDeadlineMs: 300 })
  scene.control.wal = 0x16_b374_d848n
  scene.users.answer = (_, response) => gateway(502)(response)
  await post('/users/1')
  const from = performance.now()
  await ended()
  expect(performance.now() - from).toBeLessThan(700)
  const key = intents.opened[0]?.key as string
  const attempts = scene.users.calls.length
  expect(attempts).toBeGreaterThan(2)
  const error = 'gateway 502'
  expect(intents.noted.get(key)).toEqual({ attempts, error, sourceLsn: asLsn(0x16_b374_d848n), givenUp: true })
  expect(intents.settled).toEqual([])
  expect(legs.counters()).toMatchObject({ sent: 1, failed: 1, retried: attempts - 1 })
})

test.each([
  ['404 of a router', 404],
  ['200 of a handler without idempotent()', 200],
])('%s: not tried again, for the sink to revoke', async (_, status) => {
  const { scene, intents, post, ended } = await dualWrite()
  scene.users.answer = (_request, response) => gateway(status)(response)
  await post('/users/1')
  await ended()
  expect(scene.users.calls).toHaveLength(1)
  expect([...intents.noted.values()]).toMatchObject([{ attempts: 1, error: `${status} without x-migrate-leg` }])
})

test('another status class than the monolith becomes a dead letter, with an alert that names no value', async () => {
  const { scene, intents, alerts, legs, post, ended } = await dualWrite()
  scene.users.answer = (_, response) => void response.writeHead(422, APPLIED).end('{"secret":"s"}')
  await post('/users/1/points?add=1', { body: '{"secret":"s"}' })
  await ended()
  expect(scene.users.calls).toHaveLength(1)
  const { key } = intents.opened[0] as { key: string }
  expect(intents.buried).toMatchObject([
    {
      ...{ key, service: 'users', method: 'POST', path: '/users/1/points', route: '/users/**', entity: '/users/1' },
      ...{ epoch: 7, code: 'LEG_DIFFERENT', monolithStatus: 200, serviceStatus: 422, attempts: 1 },
      ...{ body: Buffer.from('{"secret":"s"}'), bodyBytes: 14 },
    },
  ])
  expect(alerts).toMatchObject([{ name: 'leg-exhausted', service: 'users', next: 'migrate dlq list --service users' }])
  expect(JSON.stringify(alerts)).not.toContain('secret')
  expect(legs.counters()).toMatchObject({ different: 1 })
})

test('another id for a new row becomes a dead letter; the same id in another type does not', async () => {
  const { scene, intents, post, ended } = await dualWrite()
  const json = { 'content-type': 'application/json' }
  scene.monolith.answer = (_, response) => void response.writeHead(201, json).end('{"id":42}')
  const made = (id: string) => (response: ServerResponse) =>
    void response.writeHead(201, { ...json, ...APPLIED }).end(`{"id":${id}}`)
  scene.users.answer = answers(made('"42"'), made('43'))
  await post('/users', { body: '1' })
  await post('/users', { body: '2' })
  await ended()
  expect(intents.settled.map(({ outcome }) => outcome)).toMatchObject([
    { verdict: 'equal' },
    { verdict: 'id-not-kept' },
  ])
  expect(intents.buried).toMatchObject([{ code: 'ID_NOT_KEPT', entity: '/users/42', route: '/users/**' }])
})

test('a halted route has no legs, others have', async () => {
  const { scene, intents, legs, post, ended } = await dualWrite()
  await scene.set({ halted: ['/users/**'] })
  await post('/users/1')
  expect(intents.opened).toEqual([])
  await scene.set({ halted: ['/users/:id'] })
  await post('/users/1')
  await ended()
  expect([intents.opened.length, scene.users.calls.length, legs.counters().skipped]).toEqual([1, 1, 1])
})

test('an outage makes one dead letter, however many legs it takes', async () => {
  const { scene, intents, alerts, legs, post, ended } = await dualWrite({
    legDeadlineMs: 60,
    exhausted: { legs: 3, milliseconds: 0 },
  })
  scene.users.answer = (_, response) => gateway(502)(response)
  for (let user = 1; user <= 7; user++) await post(`/users/${user}`)
  await ended()
  expect(legs.counters()).toMatchObject({ failed: 7 })
  expect(intents.buried).toMatchObject([{ code: 'LEG_UNANSWERED', error: 'gateway 502', serviceStatus: null }])
  expect(alerts).toHaveLength(1)
})

test('a body is kept up to its limit', async () => {
  const { scene, intents, post, ended } = await dualWrite()
  scene.users.answer = (_, response) => void response.writeHead(409, APPLIED).end()
  await post('/users/1', { body: 'x'.repeat(100_000) })
  await ended()
  expect(intents.buried.map(({ body, bodyBytes }) => [body?.length, bodyBytes])).toEqual([[65_536, 100_000]])
})

test('the tries of a leg whose intent cannot be noted go on', async () => {
  const lines: string[] = []
  const { scene, intents, post, ended } = await dualWrite({ log: (line) => lines.push(line) })
  intents.note = () => Promise.reject(new Error('away'))
  scene.users.answer = answers(reset)
  await post('/users/1')
  await ended()
  expect(intents.settled).toHaveLength(1)
  expect(lines).toEqual(['the progress of 1 second legs was not recorded: away'])
})

test('a large answer is answered all the same', async () => {
  const { scene, intents, post, ended } = await dualWrite()
  scene.users.answer = (_, response) => void response.writeHead(200, APPLIED).end(Buffer.alloc(1024 * 1024))
  await post('/users/1')
  await ended()
  expect(intents.settled).toMatchObject([{ outcome: { state: 'answered', verdict: 'equal' } }])
})

test('another status class right after a leg that was not answered is undecided: the sync may not have been there', async () => {
  const { scene, intents, post, ended } = await dualWrite({ legDeadlineMs: 100 })
  let up = false
  scene.users.answer = (_, response) => {
    if (up) response.writeHead(404, APPLIED).end()
    else response.writeHead(502).end()
  }
  await post('/users/1')
  while (intents.noted.size === 0 || [...intents.noted.values()].some(({ givenUp }) => !givenUp)) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  up = true
  await post('/users/1')
  await post('/users/2')
  await ended()
  const verdicts = intents.settled.map(({ outcome }) => (outcome.state === 'answered' ? outcome.verdict : null))
  expect(new Set(verdicts)).toEqual(new Set(['different', 'undecided']))
  expect(intents.buried).toMatchObject([{ path: '/users/2' }])
})
