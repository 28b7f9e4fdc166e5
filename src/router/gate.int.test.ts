import { expect, test } from 'vitest'
import { raw, Scene } from '../../test/support/memory-control.ts'

const OK = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

test.each([
  [400, 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
  [400, 'GET / HTTP/1.1\r\nHost: a@evil\r\n\r\n'],
  [400, 'GET / HTTP/1.1\r\n\r\n'],
  [400, 'GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  [400, 'GET //evil/x HTTP/1.1\r\nHost: a\r\n\r\n'],
  [400, 'GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n'],
  [400, 'GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n'],
  [400, 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'],
  [400, 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  [501, 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  [501, 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n'],
  [400, 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n'],
  [400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd'],
  [400, 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n'],
  [417, 'POST / HTTP/1.1\r\nHost: a\r\nExpect: y 100-continue\r\nContent-Length: 1\r\n\r\nx'],
  [417, 'POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx'],
  [405, 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n'],
  [405, 'CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n'],
  [414, `GET /${'a'.repeat(9_000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
  [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`],
  [501, 'POST /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'],
])('answers %i, closes the connection, and no upstream sees it: %j', async (status, bytes) => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  // The second request must not be answered: the connection is not to be trusted any more.
  const answer = await raw(address.url, bytes + OK)
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  expect(scene.monolith.calls).toHaveLength(0)
})

test('100-continue is answered by the router and the body arrives', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n'
  const answer = await raw(address.url, `${head}hi`)
  expect(answer).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/)
  expect(scene.monolith.calls).toMatchObject([{ body: 'hi' }])
})

test('a client that offers h2c is served as if it had not', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  const head =
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n'
  expect(await raw(address.url, head)).toMatch(/^HTTP\/1.1 200/)
  expect(scene.monolith.calls[0]?.headers).not.toHaveProperty('upgrade')
})

test('slow headers are cut off at the limit', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router({ limits: { clientHeaderMs: 300, clientRequestMs: 300 } })
  expect(await raw(address.url, 'GET / HTTP/1.1\r\nHost: a\r\nX-')).toMatch(/^HTTP\/1.1 408/)
})
