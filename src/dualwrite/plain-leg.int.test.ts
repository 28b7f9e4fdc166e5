// Legs to a service without `idempotent()`: nothing keeps a second request from counting twice.
import { expect, test } from 'vitest'
import { dualWrite } from '../../test/support/memory-legs.ts'

test.each([
  [200, 'equal'],
  [422, 'different'],
  [500, 'different'],
])('an answer of its own counts: %i is %s', async (status, verdict) => {
  const { scene, intents, post, ended } = await dualWrite({ idempotent: false })
  scene.users.answer = (_, response) => void response.writeHead(status).end()
  await post('/users/1')
  await ended()
  expect(intents.settled).toMatchObject([{ outcome: { state: 'answered', status, verdict } }])
  expect(intents.buried.map(({ code }) => code)).toEqual(verdict === 'equal' ? [] : ['LEG_DIFFERENT'])
})

test.each([
  ['a connection that breaks', null, 'connection lost'],
  ['a gateway that gave up', 504, 'gateway 504'],
  ['a gateway that may have sent it', 503, 'gateway 503'],
])('%s: one request, and the intent stays open', async (_, status, error) => {
  const { scene, intents, post, ended } = await dualWrite({ idempotent: false })
  scene.users.answer = (request, response) => {
    if (status === null) request.socket.resetAndDestroy()
    else response.writeHead(status).end()
  }
  await post('/users/1')
  await ended()
  expect(scene.users.calls).toHaveLength(1)
  expect(intents.settled).toEqual([])
  expect([...intents.noted.values()]).toMatchObject([{ attempts: 1, error, givenUp: true }])
})

test('a request that never left is tried again, and in the end needs nobody to wait for it', async () => {
  const { scene, intents, legs, post, ended } = await dualWrite({ idempotent: false, legDeadlineMs: 200 })
  await scene.users.close()
  await post('/users/1')
  await ended()
  expect(intents.settled).toMatchObject([{ outcome: { state: 'revoked' }, progress: { error: 'connection refused' } }])
  expect(legs.counters().retried).toBeGreaterThan(0)
})
