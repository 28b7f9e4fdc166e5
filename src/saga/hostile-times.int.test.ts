import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, runSagas, startNotes } from '../../test/support/sagas.ts'
import { defineSaga, type SagaDefinition } from '../index.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-times' })
  await startNotes(db)
})
afterAll(() => db[Symbol.asyncDispose]())

const note = (saga: string, text: string) => db.query(`insert into note (saga, text) values ($1, $2)`, [saga, text])
const retry = { first: 1, longest: 5 }

async function run(saga: SagaDefinition<null, unknown>) {
  await using running = runSagas(db, { sagas: [saga] })
  const started = await running.sagas.start(saga, null)
  return { id: started.id, outcome: await started.outcome({ signal: AbortSignal.timeout(8_000) }) }
}

describe('the deadline of a step', () => {
  it('ends also a try that would last longer', async () => {
    const saga = defineSaga<null>({ name: 'CallLate', version: 1 })
      .call('ask', {
        ...{ retry, deadline: 300, compensate: null },
        execute: ({ signal }) =>
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      })
      .build()
    expect((await run(saga)).outcome).toMatchObject({ status: 'COMPENSATED', failure: { code: 'TIMEOUT' } })
  })

  it('ends also the wait for a reply', async () => {
    const saga = defineSaga<null>({ name: 'CommandLate', version: 1, replyTo: 'replies' })
      .command('ask', {
        ...{ retry, deadline: 300, kind: 'pivot' },
        execute: () => ({ topic: 'asked', type: 'Ask', payload: null }),
      })
      .build()
    expect((await run(saga)).outcome).toMatchObject({ status: 'STUCK', failure: { step: 'ask', code: 'TIMEOUT' } })
  })
})

describe('a step that may be asked for only once', () => {
  it.each([
    ['done', 'DONE', ['pay']],
    ['not-done', 'STUCK', ['pay']],
    ['unknown', 'STUCK', ['pay']],
  ] as const)('is probed when its answer is lost: %s', async (found, status, notes) => {
    const saga = defineSaga<null>({ name: `Once${found}`, version: 1 })
      .call('pay', {
        ...{ kind: 'pivot', retry: { ...retry, attempts: 1 } },
        async execute({ sagaId }): Promise<string> {
          await note(sagaId, 'pay')
          throw new Error('the connection was closed')
        },
        probe: async () => (found === 'done' ? { outcome: found, result: 'paid' } : { outcome: found }),
      })
      .build()
    const { id, outcome } = await run(saga)
    expect(outcome.status).toBe(status)
    if (outcome.status === 'DONE') expect(outcome.results).toEqual({ pay: 'paid' })
    expect(await notesOf(db, id)).toEqual(notes)
  })
})
