import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { ask, raw, Scene } from '../../test/support/memory-control.ts'

const CHUNK = Buffer.alloc(64 * 1024, 'migrate ')
const CHUNKS = 3_200

function* chunks(): Generator<Buffer> {
  for (let index = 0; index < CHUNKS; index++) yield CHUNK
}

test('200 MiB up and down, unchanged, in bounded memory', { timeout: 60_000 }, async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  const wanted = createHash('sha1')
  for (const chunk of chunks()) wanted.update(chunk)
  const expected = wanted.digest('hex')
  let received = ''
  let peak = 0
  const from = process.memoryUsage.rss()
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss() - from)
  }, 20)
  // Not Upstream's own listener: it would collect the body.
  scene.monolith.server.removeAllListeners('request')
  scene.monolith.server.on('request', (incoming, response) => {
    const hash = createHash('sha1')
    incoming.on('data', (chunk: Buffer) => hash.update(chunk))
    incoming.on('end', () => {
      received = hash.digest('hex')
      Readable.from(chunks(), { objectMode: false }).pipe(response)
    })
  })
  const outgoing = request(`${address.url}/big`, { method: 'PUT' })
  Readable.from(chunks(), { objectMode: false }).pipe(outgoing)
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
  const hash = createHash('sha1')
  for await (const chunk of answer) hash.update(chunk as Buffer)
  clearInterval(watch)
  expect([received, hash.digest('hex')]).toEqual([expected, expected])
  // All three ends live in this process; unbounded buffering would be 200 MiB and more.
  expect(peak).toBeLessThan(150 * 1024 * 1024)
})

test('a slow reader holds the upstream back', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  let sent = 0
  const stalled = new Promise<void>((resolve) => {
    scene.monolith.answer = (_, response) => {
      const more = (): void => {
        while (sent < 2_000) {
          sent++
          if (!response.write(CHUNK)) {
            const timer = setTimeout(resolve, 500)
            response.once('drain', () => {
              clearTimeout(timer)
              more()
            })
            return
          }
        }
      }
      more()
    }
  })
  const outgoing = request(`${address.url}/big`).end()
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
  answer.pause()
  await stalled
  expect(sent).toBeLessThan(1_000)
  outgoing.destroy()
})

test('an event reaches the client before the answer has ended', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  const open: ServerResponse[] = []
  scene.monolith.answer = (_, response) => {
    open.push(response)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  }
  const outgoing = request(`${address.url}/events`).end()
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
  const [first] = (await once(answer, 'data')) as [Buffer]
  expect(first.toString()).toBe('data: 1\n\n')
  for (const response of open) response.end()
  await once(answer, 'end')
})

test('HEAD, 304, repeated headers, reason phrase, trailers and early hints come through', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  scene.monolith.answer = (_, response) => void response.writeHead(200, { 'content-length': '77' }).end()
  expect(await ask(address.url, '/', { method: 'HEAD' })).toMatchObject({
    status: 200,
    headers: { 'content-length': '77' },
  })
  scene.monolith.answer = (_, response) => void response.writeHead(304, { etag: '"x"', 'content-length': '9' }).end()
  expect(await ask(address.url, '/')).toMatchObject({ status: 304, headers: { etag: '"x"' }, body: '' })
  scene.monolith.answer = (_, response) => {
    response.writeEarlyHints({ link: '</a.css>; rel=preload' })
    response.writeHead(200, 'Fine So Far', ['Set-Cookie', 'a=1', 'SET-cookie', 'b=2', 'Trailer', 'X-Sum'])
    response.addTrailers({ 'X-Sum': '42' })
    response.end('body')
  }
  const text = await raw(address.url, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  expect(text).toMatch(
    /^HTTP\/1.1 103 Early Hints\r\nLink: <\/a.css>; rel=preload\r\n\r\nHTTP\/1.1 200 Fine So Far\r\n/,
  )
  expect(text).toContain('Set-Cookie: a=1\r\nSET-cookie: b=2\r\n')
  expect(text).toMatch(/\r\n0\r\nX-Sum: 42\r\n\r\n$/)
})

test('an upstream that answers before it has read the upload leaves the client its answer', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  scene.monolith.server.removeAllListeners('request')
  scene.monolith.server.on('request', (incoming: IncomingMessage, response: ServerResponse) => {
    incoming.resume()
    response.writeHead(413).end('too much')
  })
  const reply = await ask(address.url, '/up', { method: 'POST', body: Buffer.alloc(5_000_000) })
  expect(reply).toMatchObject({ status: 413, body: 'too much' })
})

test('an upstream that breaks off in the middle of an upload gives the client a 502', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  scene.monolith.server.removeAllListeners('request')
  scene.monolith.server.on('request', (incoming: IncomingMessage) => {
    incoming.once('data', () => incoming.socket.resetAndDestroy())
  })
  const reply = await ask(address.url, '/up', { method: 'POST', body: Buffer.alloc(5_000_000) })
  expect(reply.status).toBe(502)
  expect(await ask(address.url, '/up', { method: 'POST', body: 'x' })).toMatchObject({ status: 502 })
})

test('a WebSocket passes to the monolith, with the bytes sent along with the handshake', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  scene.monolith.server.on('upgrade', (incoming, socket, head: Buffer) => {
    expect(incoming.headers).toMatchObject({
      upgrade: 'websocket',
      'sec-websocket-key': 'k',
      'x-forwarded-for': '127.0.0.1',
    })
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-a: b\r\n\r\nfirst')
    socket.write(head)
    socket.pipe(socket)
  })
  const socket = connect(address.port, address.host)
  socket.setEncoding('latin1')
  let seen = ''
  const saw = (text: string): Promise<void> =>
    new Promise((resolve) => {
      const check = (): void => {
        if (!seen.includes(text)) return
        socket.off('data', check)
        resolve()
      }
      socket.on('data', check)
      check()
    })
  socket.on('data', (chunk: string) => (seen += chunk))
  const head =
    'GET /users/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n'
  socket.write(`${head}HEAD`)
  await saw('firstHEAD')
  expect(seen).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n/)
  expect(seen).toContain('x-migrate-side: monolith')
  socket.write('frame')
  await saw('HEADframe')
  const closed = once(socket, 'close')
  socket.end()
  await closed
})

test("a refused WebSocket gives the upstream's answer", async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  scene.monolith.server.on('upgrade', (_, socket) => {
    socket.end('HTTP/1.1 403 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno')
  })
  const head = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  expect(await raw(address.url, head)).toMatch(/^HTTP\/1.1 403 No\r\n[^]*\r\n\r\nno$/)
})
