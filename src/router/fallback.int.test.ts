import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { asLsn } from '../model/lsn.ts'
import { ask, raw, Scene } from '../../test/support/memory-control.ts'

const SPLIT = { stage: 'route', percent: 100, applied: asLsn(1_000n) } as const
const USER = { headers: { 'x-user-id': '1' } }

const FAULTS: Record<string, RequestListener> = {
  '502': (_, response) => void response.writeHead(502).end('bad'),
  '503': (_, response) => void response.writeHead(503).end('x'.repeat(200_000)),
  '504': (_, response) => void response.writeHead(504).end(),
  'a reset': (request) => void request.socket.resetAndDestroy(),
  'a closed connection': (request) => void request.socket.end(),
  'no answer': () => undefined,
  'not HTTP': (request) => void request.socket.end('hello\r\n\r\n'),
}

for (const [fault, answer] of Object.entries(FAULTS)) {
  test.each(['GET', 'HEAD', 'OPTIONS'])(`${fault} to a %s: the monolith answers, asked once`, async (method) => {
    await using scene = await Scene.open()
    const { address, counters } = await scene.router({ limits: { serviceHeaderMs: 100 } })
    await scene.set(SPLIT)
    scene.users.answer = answer
    const reply = await ask(address.url, '/users/1', { method, ...USER })
    expect(reply).toMatchObject({ status: 200, headers: { 'x-migrate-side': 'fallback' } })
    expect(reply.body).toBe(method === 'HEAD' ? '' : 'monolith')
    expect([scene.users.calls.length, scene.monolith.calls.length]).toEqual([1, 1])
    expect(counters().fallbacks).toBe(1)
  })

  test.each(['POST', 'PUT', 'PATCH', 'DELETE'])(`${fault} to a %s in live: sent once, to one side`, async (method) => {
    await using scene = await Scene.open()
    const { address } = await scene.router({ limits: { answerMs: 100 } })
    await scene.set({ stage: 'live', authority: { side: 'service', epoch: 2 } })
    scene.users.answer = answer
    const reply = await ask(address.url, '/users/1', { method, body: '{}', ...USER })
    expect(reply.status).toBe(/^\d+$/.test(fault) ? Number(fault) : fault === 'no answer' ? 504 : 502)
    expect([scene.users.calls.length, scene.monolith.calls.length]).toEqual([1, 0])
  })
}

test('a refused connection: reads fall back, writes in live fail', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(SPLIT)
  await scene.users.close()
  expect(await ask(address.url, '/users/1', USER)).toMatchObject({
    body: 'monolith',
    headers: { 'x-migrate-side': 'fallback' },
  })
  await scene.set({ stage: 'live', authority: { side: 'service', epoch: 2 } })
  expect(await ask(address.url, '/users/1', { method: 'POST', body: 'x', ...USER })).toMatchObject({ status: 502 })
  expect(scene.monolith.calls).toHaveLength(1)
})

test('in live a read does not fall back to the monolith, which may be behind', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set({ stage: 'live', authority: { side: 'service', epoch: 2 } })
  scene.users.answer = (_, response) => void response.writeHead(503).end()
  expect(await ask(address.url, '/users/1', USER)).toMatchObject({
    status: 503,
    headers: { 'x-migrate-side': 'service' },
  })
  expect(scene.monolith.calls).toHaveLength(0)
})

test('500 and 404 of the service are its answers', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(SPLIT)
  for (const status of [500, 404]) {
    scene.users.answer = (_, response) => void response.writeHead(status).end()
    expect(await ask(address.url, '/users/1', USER)).toMatchObject({ status, headers: { 'x-migrate-side': 'service' } })
  }
  expect(scene.monolith.calls).toHaveLength(0)
})

test('both tries share one deadline', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router({ limits: { serviceHeaderMs: 300, readDeadlineMs: 600 } })
  await scene.set(SPLIT)
  scene.users.answer = () => undefined
  scene.monolith.answer = () => undefined
  const from = performance.now()
  expect(await ask(address.url, '/users/1', USER)).toMatchObject({ status: 504 })
  expect(performance.now() - from).toBeLessThan(900)
})

test('a failure in the middle of an answer is seen by the client, and nobody is asked again', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(SPLIT)
  scene.users.answer = (_, response) => {
    response.writeHead(200, { 'content-length': '10' })
    response.write('12345', () => response.socket?.resetAndDestroy())
  }
  await expect(ask(address.url, '/users/1', USER)).rejects.toThrow()
  expect(scene.monolith.calls).toHaveLength(0)
})

test('a read with a body goes to the monolith, once', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  await scene.set(SPLIT)
  expect(
    await ask(address.url, '/users/1', { body: 'abc', headers: { 'x-user-id': '1', 'content-length': '3' } }),
  ).toMatchObject({ body: 'monolith' })
  expect(scene.monolith.calls).toMatchObject([{ body: 'abc' }])
  expect(scene.users.calls).toHaveLength(0)
})

test('a service that has all its reads hanging does not take more', async () => {
  await using scene = await Scene.open()
  const { address, counters } = await scene.router({ limits: { connections: 4, serviceHeaderMs: 2_000 } })
  await scene.set(SPLIT)
  const stuck: (() => void)[] = []
  scene.users.answer = (_, response) => stuck.push(() => response.end('late'))
  const slow = Array.from({ length: 4 }, () => ask(address.url, '/users/1', USER))
  await scene.users.called(4)
  expect(await ask(address.url, '/users/1', USER)).toMatchObject({
    body: 'monolith',
    headers: { 'x-migrate-side': 'monolith' },
  })
  for (const answer of stuck) answer()
  expect((await Promise.all(slow)).map(({ body }) => body)).toEqual(Array(4).fill('late'))
  expect(counters().busyReads).toBe(1)
})

test('a monolith that closes its idle connection under a read is asked again, under a write it is not', async () => {
  await using scene = await Scene.open()
  let requests = 0
  // Answers the first request of each connection and breaks off at the second.
  const picky = createServer((request, response) => {
    requests++
    const socket = request.socket as typeof request.socket & { seen?: boolean }
    if (socket.seen === true) return void socket.destroy()
    socket.seen = true
    response.end('fresh')
  })
  await new Promise<void>((resolve) => picky.listen(0, '127.0.0.1', resolve))
  const { address, counters } = await scene.router({
    limits: { connections: 1 },
    monolith: `http://127.0.0.1:${(picky.address() as AddressInfo).port}`,
  })
  expect(await ask(address.url, '/')).toMatchObject({ body: 'fresh' })
  expect(await ask(address.url, '/')).toMatchObject({ body: 'fresh' })
  expect([requests, counters().retriedReads]).toEqual([3, 1])
  expect(await ask(address.url, '/', { method: 'POST' })).toMatchObject({ status: 502 })
  expect(requests).toBe(4)
  picky.closeAllConnections()
  picky.close()
})

test('a client that goes away takes its read with it', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  const closed = new Promise<void>((resolve) => {
    scene.monolith.answer = (_, response) => void response.once('close', resolve)
  })
  const client = new AbortController()
  const gone = ask(address.url, '/slow', { signal: client.signal })
  await scene.monolith.called(1)
  client.abort()
  await expect(gone).rejects.toThrow()
  await closed
})

test('a request smuggled into a body is never parsed as one', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  const inner = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
  const chunk = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE', 'POST', 'PURGE']) {
    const head = `${method} /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n`
    await raw(address.url, `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}`)
    await raw(address.url, `${head}Content-Length: ${inner.length}\r\n\r\n${inner}`)
  }
  expect(await ask(address.url, '/innocent')).toMatchObject({ body: 'monolith' })
  expect(scene.monolith.calls.filter(({ url }) => url === '/smuggled')).toEqual([])
  // PURGE is a method that node's parser knows; every body arrived whole and as a body.
  expect(scene.monolith.calls.filter(({ body }) => body === inner)).toHaveLength(12)
})
