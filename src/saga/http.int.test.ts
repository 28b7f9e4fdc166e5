import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, runSagas, startNotes } from '../../test/support/sagas.ts'
import { answerHttp, callHttp, defineSaga, inTransaction, participant, StepRefused } from '../index.ts'

let db: Eventing
let server: Server
let url: string
/** of the next requests, one each, when it is not the participant who answers */
const instead: ('drop' | number)[] = []
const keys: string[] = []

beforeAll(async () => {
  db = await startEventing({ name: 'sagas-http' })
  await startNotes(db)
  server = createServer((request, response) => {
    const key = String(request.headers['idempotency-key'])
    keys.push(key)
    const how = instead.shift()
    const answered = how === 404 || how === 503 ? Promise.resolve(null) : answer(key, request.url ?? '')
    void answered.then((made) => {
      if (how === 'drop') return response.destroy()
      response.writeHead(made?.status ?? Number(how), made?.headers)
      return response.end(made === null ? 'somebody in between' : JSON.stringify(made.body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.close()
  await db[Symbol.asyncDispose]()
})

const answer = async (key: string, path: string) =>
  answerHttp(
    await inTransaction(db.pool, (tx) =>
      participant(tx, { key }, async ({ sagaId, direction }) => {
        if (path === '/refuse') throw new StepRefused('not for you')
        await tx.query(`insert into note (saga, text) values ($1, $2)`, [sagaId, direction])
        return { charged: '9.99' }
      }),
    ),
  )

const retry = { first: 1, longest: 5, attempts: 3 }
const saga = defineSaga<string>({ name: 'Http', version: 1 })
  .call('charge', {
    retry,
    execute: (context) => callHttp(context, { url: `${url}${context.input}`, body: { amount: '9.99' } }),
    compensate: (context) => callHttp(context, { url: `${url}/refund` }),
  })
  .build()

async function run(path: string, ...answers: ('drop' | number)[]) {
  instead.splice(0, instead.length, ...answers)
  keys.length = 0
  await using running = runSagas(db, { sagas: [saga] })
  const started = await running.sagas.start(saga, path)
  const outcome = await started.outcome()
  return { outcome, id: started.id, notes: await notesOf(db, started.id) }
}

describe('a step over HTTP', () => {
  it('is done once, whatever happens to the answers', async () => {
    const { outcome, id, notes } = await run('/', 'drop', 503)
    expect(outcome).toEqual({ status: 'DONE', results: { charge: { charged: '9.99' } } })
    expect(notes).toEqual(['execute'])
    expect(keys).toEqual([`${id}/charge/execute`, `${id}/charge/execute`, `${id}/charge/execute`])
  })

  it('is refused by the participant, or by a status where there was no try before', async () => {
    const refused = await run('/refuse')
    expect(refused.outcome).toMatchObject({ status: 'COMPENSATED', failure: { message: 'refused: not for you' } })
    expect([refused.notes, keys.length]).toEqual([[], 1])
    expect((await run('/', 404)).outcome).toMatchObject({ status: 'COMPENSATED', failure: { code: 'STEP_REFUSED' } })
    expect(keys).toHaveLength(1)
  })

  it('is not refused by somebody in between after a try that got no answer: it is taken back', async () => {
    const { outcome, notes } = await run('/', 'drop', 404, 404)
    expect(outcome).toMatchObject({ status: 'COMPENSATED', failure: { code: 'HTTP_404' } })
    expect(notes).toEqual(['execute', 'compensate'])
  })
})
