import { setTimeout as after } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { dualWrite } from '../../test/support/memory-legs.ts'

test("the monolith's answer is the client's, then the service gets the same request with the leg's headers", async () => {
  const { scene, intents, legs, post, ended } = await dualWrite()
  scene.control.wal = 0x16_b374_d848n
  const json = { 'content-type': 'application/json' }
  scene.monolith.answer = (_, response) => {
    // The intent is durable before the monolith is called.
    expect(intents.opened).toHaveLength(1)
    expect(scene.users.calls).toHaveLength(0)
    response.writeHead(201, { ...json, etag: '"m"' }).end('{"id":42}')
  }
  const headers = { ...json, 'x-user-id': '1', 'idempotency-key': 'of the client', 'x-migrate-mode': 'forged' }
  expect(await post('/users?a=1', { headers })).toMatchObject({
    status: 201,
    body: '{"id":42}',
    headers: { etag: '"m"' },
  })
  await ended()
  const key = intents.opened[0]?.key as string
  expect(intents.opened).toEqual([
    { key, service: 'users', epoch: 7, method: 'POST', path: '/users', instance: 'router-1' },
  ])
  expect(scene.users.calls).toMatchObject([{ method: 'POST', url: '/users?a=1', body: '{"n":1}' }])
  expect(scene.users.calls[0]?.headers).toMatchObject({
    'content-type': 'application/json',
    'x-user-id': '1',
    'idempotency-key': key,
    'x-migrate-mode': 'dual-write',
    'x-migrate-epoch': '7',
    'x-migrate-source-lsn': '16/B374D848',
    'x-migrate-id': '42',
  })
  expect(scene.monolith.calls[0]?.headers).toMatchObject({ 'idempotency-key': 'of the client' })
  expect(scene.monolith.calls[0]?.headers).not.toHaveProperty('x-migrate-mode')
  expect(intents.settled).toMatchObject([{ key, outcome: { state: 'answered', status: 200, verdict: 'equal' } }])
  expect(legs.counters()).toEqual({ sent: 1, retried: 0, answered: 1, different: 0, skipped: 0, failed: 0, revoked: 0 })
})

test.each([
  ['applied', 200, 'answered', { state: 'answered', status: 200, verdict: 'equal' }],
  ['replayed', 201, 'answered', { state: 'answered', status: 201, verdict: 'equal' }],
  ['applied', 422, 'different', { state: 'answered', status: 422, verdict: 'different' }],
  ['applied', 500, 'different', { state: 'answered', status: 500, verdict: 'different' }],
  ['revoked', 409, 'revoked', null],
  ['refused', 409, 'revoked', null],
  ['', 200, 'failed', null],
  ['', 502, 'failed', null],
])('a leg answered with x-migrate-leg "%s" and %i counts as %s', async (leg, status, counter, outcome) => {
  const { scene, intents, legs, post, ended } = await dualWrite({ legDeadlineMs: 200 })
  scene.users.answer = (_, response) =>
    void response.writeHead(status, leg === '' ? {} : { 'x-migrate-leg': leg }).end()
  expect(await post('/users/1')).toMatchObject({ status: 200, body: 'monolith' })
  await ended()
  expect(intents.settled.map((each) => each.outcome)).toEqual(outcome === null ? [] : [outcome])
  expect({ ...legs.counters(), retried: 0 }).toEqual({
    sent: 1,
    retried: 0,
    answered: 0,
    different: 0,
    skipped: 0,
    failed: 0,
    revoked: 0,
    [counter]: 1,
  })
})

test.each([
  ['an error of the client', 422],
  ['an error of the monolith', 500],
  ['a redirect', 303],
])('%s: no leg, the intent is settled as skipped', async (_, status) => {
  const { scene, intents, legs, post, ended } = await dualWrite()
  scene.monolith.answer = (_request, response) => void response.writeHead(status).end('no')
  expect(await post('/users/1')).toMatchObject({ status, body: 'no' })
  await ended()
  expect(scene.users.calls).toHaveLength(0)
  expect(intents.settled).toMatchObject([{ outcome: { state: 'skipped', why: `the monolith answered ${status}` } }])
  expect(legs.counters()).toMatchObject({ sent: 0, skipped: 1 })
})

test('a monolith that breaks off: no leg, one call', async () => {
  const { scene, intents, post, ended } = await dualWrite()
  scene.monolith.answer = (request) => void request.socket.resetAndDestroy()
  expect(await post('/users/1')).toMatchObject({ status: 502 })
  await ended()
  expect([scene.monolith.calls.length, scene.users.calls.length]).toEqual([1, 0])
  expect(intents.settled).toMatchObject([{ outcome: { state: 'skipped', why: 'the monolith gave no answer' } }])
})

test.each([
  ['rejects', () => Promise.reject(new Error('control away'))],
  ['hangs', () => new Promise<never>(() => undefined)],
])('an intent that %s: the client is served in time, the leg skipped', async (_, opening) => {
  const { scene, intents, legs, post } = await dualWrite({ intentDeadlineMs: 100 })
  intents.opening = opening
  const from = performance.now()
  expect(await post('/users/1')).toMatchObject({ status: 200, body: 'monolith' })
  expect(performance.now() - from).toBeLessThan(500)
  await scene[Symbol.asyncDispose]()
  expect(scene.users.calls).toHaveLength(0)
  expect(legs.counters()).toMatchObject({ sent: 0, skipped: 1 })
})

test('an intent that becomes durable too late is settled as skipped', async () => {
  const { scene, intents, post, ended } = await dualWrite({ intentDeadlineMs: 30 })
  intents.opening = () => after(120)
  await post('/users/1')
  await ended()
  expect(scene.users.calls).toHaveLength(0)
  expect(intents.settled).toMatchObject([{ outcome: { state: 'skipped', why: 'the intent came too late' } }])
})

test('a service that hangs costs the client nothing; the leg ends at its deadline and stays open', async () => {
  const { scene, intents, legs, post, ended } = await dualWrite({ legDeadlineMs: 150 })
  scene.users.answer = () => undefined
  const from = performance.now()
  expect(await post('/users/1')).toMatchObject({ body: 'monolith' })
  expect(performance.now() - from).toBeLessThan(140)
  const report = await scene.control.reportThat((each) => each.version >= scene.control.version)
  expect(report.services['users']?.writes).toBe(0)
  await ended()
  expect(performance.now() - from).toBeLessThan(1_000)
  expect(intents.settled).toEqual([])
  expect(legs.counters()).toMatchObject({ sent: 1, failed: 1 })
})

test('a service that is down: the client is served, the intent stays open', async () => {
  const { scene, intents, legs, post, ended } = await dualWrite()
  await scene.users.close()
  expect(await post('/users/1')).toMatchObject({ body: 'monolith' })
  await ended()
  expect(intents.settled).toEqual([])
  expect(legs.counters()).toMatchObject({ failed: 1 })
})

test("legs of one entity go out one at a time in the order of the monolith's answers, others do not wait", async () => {
  const { scene, post, ended } = await dualWrite()
  let running = 0
  let most = 0
  const order: string[] = []
  scene.users.answer = (request, response) => {
    const own = request.url?.startsWith('/users/1') === true
    const body = scene.users.calls.at(-1)?.body as string
    if (own) most = Math.max(most, ++running)
    const end = (): void => {
      if (own) running--
      if (own) order.push(body)
      response.writeHead(200, { 'x-migrate-leg': 'applied' }).end()
    }
    if (own) setTimeout(end, 15)
    else end()
  }
  // The monolith answers in another order than it was asked.
  const answers: { body: string; answer: () => void }[] = []
  scene.monolith.answer = (_, response) => {
    const body = scene.monolith.calls.at(-1)?.body as string
    answers.push({ body, answer: () => response.end() })
  }
  const writes = Array.from({ length: 8 }, (_, index) => post(`/users/1/part${index}`, { body: String(index) }))
  await scene.monolith.called(8)
  const shuffled = [5, 2, 7, 0, 1, 6, 3, 4]
  for (const wanted of shuffled) {
    answers.find(({ body }) => body === String(wanted))?.answer()
    await writes[wanted]
  }
  scene.monolith.answer = (_, response) => void response.end()
  await post('/users/2')
  await scene.users.called(2)
  await ended()
  expect(most).toBe(1)
  expect(order).toEqual(shuffled.map(String))
})

// a leg is not sent with under a sixteenth of its deadline left: 200 ms here, for answers that arrive apart
test('a leg whose turn comes after its deadline is not sent', async () => {
  const { scene, intents, legs, post, ended } = await dualWrite({ legDeadlineMs: 3_200 })
  scene.users.answer = () => undefined
  const answers: (() => void)[] = []
  scene.monolith.answer = (_, response) => answers.push(() => response.end())
  const writes = [post('/users/1'), post('/users/1')]
  await scene.monolith.called(2)
  for (const answer of answers) answer()
  await Promise.all(writes)
  await ended()
  expect(new Set(scene.users.calls.map(({ headers }) => headers['idempotency-key'])).size).toBe(1)
  expect(legs.counters()).toMatchObject({ sent: 1, failed: 2 })
  expect(intents.settled).toEqual([])
})

test('rows created at the same time do not wait for each other', async () => {
  const { scene, legs, post, ended } = await dualWrite()
  let id = 0
  scene.monolith.answer = (_, response) => {
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify({ id: ++id }))
  }
  const answers: (() => void)[] = []
  scene.users.answer = (_, response) => {
    answers.push(() => response.writeHead(201, { 'x-migrate-leg': 'applied' }).end())
    if (answers.length === 10) for (const answer of answers) answer()
  }
  await Promise.all(Array.from({ length: 10 }, () => post('/users')))
  await ended()
  const ids = new Set(scene.users.calls.map(({ headers }) => Number(headers['x-migrate-id'])))
  expect(ids).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]))
  expect(legs.counters()).toMatchObject({ answered: 10, failed: 0 })
})

test('an outcome that cannot be recorded is tried three times, then left open', async () => {
  const lines: string[] = []
  const { intents, post, ended } = await dualWrite({ log: (line) => lines.push(line) })
  let tries = 0
  intents.settling = () => {
    tries++
    return Promise.reject(new Error('away'))
  }
  await post('/users/1')
  await ended()
  expect(tries).toBe(3)
  expect(lines).toEqual(['the outcome of a second leg was not recorded: away'])
})

test('a leg is sent without a position when none can be had', async () => {
  const { scene, post, ended } = await dualWrite()
  scene.control.positionAway = true
  await post('/users/1')
  await ended()
  expect(scene.users.calls).toHaveLength(1)
  expect(scene.users.calls[0]?.headers).not.toHaveProperty('x-migrate-source-lsn')
})

test('a body too large to keep goes to the monolith alone', async () => {
  const { scene, intents, legs, post, ended } = await dualWrite()
  const body = Buffer.alloc(1024 * 1024 + 1, 'x')
  expect(await post('/users/1', { body })).toMatchObject({ body: 'monolith' })
  await ended()
  expect(scene.monolith.calls[0]?.body).toHaveLength(body.length)
  expect([intents.opened.length, scene.users.calls.length, legs.counters().skipped]).toEqual([0, 0, 1])
})

test('drained means: no write and no leg under way', async () => {
  const { scene, post, ended } = await dualWrite()
  const answers: (() => void)[] = []
  scene.users.answer = (_, response) => {
    answers.push(() => response.writeHead(200, { 'x-migrate-leg': 'applied' }).end())
  }
  await post('/users/1')
  await scene.users.called(1)
  const version = scene.control.set('users', { hold: { run: 1, leftMs: 60_000 } })
  const report = await scene.control.reportThat((each) => each.version >= version)
  expect(report.services['users']).toEqual({ writes: 0, legs: 1, held: 0 })
  for (const answer of answers) answer()
  await scene.control.reportThat((each) => each.version >= version && each.services['users']?.legs === 0)
  await ended()
})
