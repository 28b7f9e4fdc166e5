import { Agent } from 'node:http'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { ask, Scene } from '../../test/support/memory-control.ts'

const KEEP = { method: 'GET' } as const

test('closing under load resets nobody', async () => {
  await using scene = await Scene.open()
  const { address, close } = await scene.router({ limits: { drainIdleMs: 300 } })
  let answered = 0
  const codes: string[] = []
  const client = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (;;) {
      try {
        const reply = await ask(address.url, '/', { ...KEEP, agent })
        expect(reply.body).toBe('monolith')
        answered++
      } catch (error) {
        codes.push((error as NodeJS.ErrnoException).code ?? String(error))
        return agent.destroy()
      }
    }
  }
  const clients = Array.from({ length: 30 }, client)
  await scene.monolith.called(300)
  await close()
  await Promise.all(clients)
  expect(answered).toBeGreaterThan(300)
  // Only new connections are refused, once nobody listens any more.
  expect(new Set(codes)).toEqual(new Set(['ECONNREFUSED']))
})

test('what is under way is finished, held writes and legs too', async () => {
  await using scene = await Scene.open()
  const legs: (() => void)[] = []
  const answered = (): Promise<void> => new Promise((resolve) => legs.push(resolve))
  const secondLeg = { open: () => Promise.resolve({ answered }), skipped: () => undefined, without: () => undefined }
  const { address, close, counters } = await scene.router({ secondLeg })
  await scene.set({ stage: 'dual-write', legs: true })
  const answers: (() => void)[] = []
  scene.monolith.answer = (_, response) => answers.push(() => response.end('late'))
  const read = ask(address.url, '/users/1')
  await scene.monolith.called(1)
  await scene.set({ hold: { run: 1, leftMs: 60_000 } })
  const write = ask(address.url, '/users/1', { method: 'POST', body: '{}' })
  while (counters().held < 1) await new Promise(setImmediate)
  let closed = false
  const closing = close().then(() => {
    closed = true
  })
  for (const answer of answers.splice(0)) answer()
  expect(await read).toMatchObject({ body: 'late', headers: { connection: 'close' } })
  scene.control.set('users', { hold: null })
  await scene.monolith.called(2)
  for (const answer of answers) answer()
  expect(await write).toMatchObject({ body: 'late' })
  await scene.control.reportThat((report) => report.services['users']?.legs === 1)
  expect(closed).toBe(false)
  for (const end of legs) end()
  await closing
})

test('idle connections are ended, busy ones are cut only at the limit', async () => {
  await using scene = await Scene.open()
  const { address, close } = await scene.router({ limits: { drainIdleMs: 20, drainMs: 200 } })
  scene.monolith.answer = () => undefined
  const idle = connect(address.port, address.host)
  const ended = new Promise((resolve) => idle.once('close', resolve))
  const stuck = ask(address.url, '/').catch((error: NodeJS.ErrnoException) => error.code)
  await scene.monolith.called(1)
  const from = performance.now()
  await close()
  await ended
  expect(await stuck).toBe('ECONNRESET')
  expect(performance.now() - from).toBeGreaterThan(150)
  await close()
})

test('an aborted signal closes the router', async () => {
  await using scene = await Scene.open()
  const stop = new AbortController()
  const { address } = await scene.router({ signal: stop.signal })
  expect(await ask(address.url, '/')).toMatchObject({ status: 200 })
  stop.abort()
  for (;;) {
    const code = await ask(address.url, '/').then(
      () => 'answered',
      (error: NodeJS.ErrnoException) => error.code,
    )
    if (code === 'ECONNREFUSED') break
  }
})

test('a port in use is said so', async () => {
  await using scene = await Scene.open()
  const { address } = await scene.router()
  const listen = { host: address.host, port: address.port }
  await expect(scene.router({ listen })).rejects.toMatchObject({ code: 'PORT_IN_USE' })
})
