import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, runSagas, startNotes } from '../../test/support/sagas.ts'
import { callHttp, defineSaga, inTransaction } from '../index.ts'
import { giveOrder } from './operate.ts'
import { showSaga } from './read.ts'

let db: Eventing
let server: Server
let url: string
/** of the next requests, one each */
const answers: ((response: ServerResponse) => void)[] = []

beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-http' })
  await startNotes(db)
  server = createServer((request, response) => {
    request.resume()
    answers.shift()?.(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.close()
  server.closeAllConnections()
  await db[Symbol.asyncDispose]()
})

const note = (saga: string, text: string) => db.query(`insert into note (saga, text) values ($1, $2)`, [saga, text])
const drop = (response: ServerResponse) => void response.destroy()
const status = (code: number) => (response: ServerResponse) => void response.writeHead(code).end()

const paying = defineSaga<null>({ name: 'Paying', version: 1 })
  .call('reserve', {
    execute: ({ sagaId }) => note(sagaId, 'reserve'),
    compensate: ({ sagaId }) => note(sagaId, 'release'),
  })
  .call('pay', {
    ...{ kind: 'pivot', retry: { first: 1, longest: 2, attempts: 2 } },
    execute: (context) => callHttp(context, { url }),
  })
  .build()

describe('a pivot over HTTP', () => {
  it('that may have happened is not refused by whoever answers after an operator let it be tried again', async () => {
    answers.push(drop, drop)
    await using running = runSagas(db, { sagas: [paying] })
    const { id, outcome } = await running.sagas.start(paying, null)
    expect((await outcome()).status).toBe('STUCK')
    // a proxy that does not find the participant
    answers.push(status(404), status(404))
    const seen = await showSaga(db.pool, 'shop', id)
    const order = { verb: 'retry', by: 'ann', reason: null, service: 'shop', expectSeq: seen.seq } as const
    await inTransaction(db.pool, (tx) => giveOrder(tx, seen, order))
    await moved(id)
    expect(await showSaga(db.pool, 'shop', id)).toMatchObject({ status: 'STUCK', lastError: { code: 'HTTP_404' } })
    expect(await notesOf(db, id)).toEqual(['reserve'])
  })
})

const asking = defineSaga<string>({ name: 'Asking', version: 1 })
  .call('ask', {
    ...{ kind: 'pivot', retry: { first: 1, longest: 2, attempts: 2 }, timeout: 400 },
    execute: (context) => callHttp(context, { url: context.input }),
  })
  .build()

describe('an answer over HTTP', () => {
  const begun = (text: string) => (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write(text)
  }
  it.each<[string, (response: ServerResponse) => void]>([
    [
      'is cut in the middle',
      (response) => response.writeHead(200, { 'content-length': 9 }).write('12', () => drop(response)),
    ],
    ['never ends', begun('{"a":')],
    ['never begins', () => undefined],
    ['leads elsewhere', (response) => void response.writeHead(302, { location: '/other' }).end()],
    ['is a page', (response) => void response.end('<html>')],
    ['is early', status(425)],
    ['is too much', status(429)],
  ])('that %s is none: it is asked for again', async (_, answer) => {
    const good = (response: ServerResponse) => void response.writeHead(201).end('{"a":1}')
    answers.splice(0, answers.length, answer, good)
    await using running = runSagas(db, { sagas: [asking] })
    const { outcome } = await running.sagas.start(asking, url)
    expect(await outcome()).toEqual({ status: 'DONE', results: { ask: { a: 1 } } })
  })

  it('that is longer than anybody keeps is none', async () => {
    const endless = (response: ServerResponse) => {
      const more = () => response.destroyed || response.write('x'.repeat(100_000), more)
      response.writeHead(200).write('"', more)
    }
    answers.splice(0, answers.length, endless, (response) => void response.end(`"${'x'.repeat(2_000_000)}"`))
    const patient = defineSaga<null>({ name: 'Patient', version: 1 })
      .call('ask', {
        ...{ kind: 'pivot', retry: { first: 1, longest: 2, attempts: 2 } },
        execute: (context) => callHttp(context, { url }),
      })
      .build()
    await using running = runSagas(db, { sagas: [patient] })
    const { outcome } = await running.sagas.start(patient, null)
    expect(await outcome()).toMatchObject({ status: 'STUCK', failure: { code: 'HTTP_TOO_LONG' } })
  })

  it('that does not come says why', async () => {
    await using running = runSagas(db, { sagas: [asking] })
    const { outcome } = await running.sagas.start(asking, await nobody())
    expect(await outcome()).toMatchObject({ status: 'STUCK', failure: { code: 'ECONNREFUSED' } })
  })
})

/** Where nobody answers any more. */
async function nobody(): Promise<string> {
  const gone = createServer()
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
  const { port } = gone.address() as AddressInfo
  await new Promise((resolve) => gone.close(resolve))
  return `http://127.0.0.1:${port}`
}

/** Until a saga has ended, or is stuck again. */
async function moved(id: string): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  for (let status = 'RUNNING'; status === 'RUNNING' || status === 'COMPENSATING'; ) {
    signal.throwIfAborted()
    status = (await showSaga(db.pool, 'shop', id)).status
  }
}
