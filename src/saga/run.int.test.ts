import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defineSaga, Sagas, StepRefused } from '../index.ts'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { type Running, runSagas } from '../../test/support/sagas.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas' })
  await db.query(`create table note (n bigint generated always as identity, saga uuid, text text)`)
})
afterAll(() => db[Symbol.asyncDispose]())

/** What happened to the participants of a saga, in order. */
const notes = async (saga: string): Promise<string[]> =>
  (await db.query<{ text: string }>(`select text from note where saga = $1 order by n`, [saga])).map(({ text }) => text)

const note = (saga: string, text: string) => db.query(`insert into note (saga, text) values ($1, $2)`, [saga, text])

/** Three steps that note what they do; `fails` names one that refuses. */
const order = defineSaga<{ fails?: string }>({ name: 'Order', version: 1 })
  .call('reserve', {
    execute: async ({ sagaId, input }) => {
      if (input.fails === 'reserve') throw new StepRefused('nothing left')
      await note(sagaId, 'reserve')
      return { reservation: 7 }
    },
    compensate: ({ sagaId, result }) => note(sagaId, `release ${result?.reservation}`),
  })
  .local('charge', {
    execute: async (tx, { sagaId, results }) => {
      await tx.query(`insert into note (saga, text) values ($1, $2)`, [sagaId, `charge ${results.reserve.reservation}`])
      return 'paid'
    },
    compensate: (tx, { sagaId, result }) =>
      tx.query(`insert into note (saga, text) values ($1, $2)`, [sagaId, `refund ${result}`]),
  })
  .call('confirm', {
    kind: 'pivot',
    execute: async ({ sagaId, input, results }) => {
      if (input.fails === 'confirm') throw new StepRefused('too late')
      await note(sagaId, `confirm ${results.charge}`)
    },
  })
  .call('thank', { kind: 'retriable', execute: ({ sagaId }) => note(sagaId, 'thank').then(() => 'sent') })
  .build()

describe('a saga', () => {
  it('does its steps in order, each once, and gives their results on', async () => {
    await using running = runSagas(db, { sagas: [order] })
    const saga = await running.sagas.start(order, {})
    expect(await saga.outcome()).toEqual({
      status: 'DONE',
      results: { reserve: { reservation: 7 }, charge: 'paid', thank: 'sent', confirm: undefined },
    })
    expect(await notes(saga.id)).toEqual(['reserve', 'charge 7', 'confirm paid', 'thank'])
  })

  it('is taken back in reverse when a step refuses', async () => {
    await using running = runSagas(db, { sagas: [order] })
    const saga = await running.sagas.start(order, { fails: 'confirm' })
    expect(await saga.outcome()).toEqual({
      status: 'COMPENSATED',
      failure: { step: 'confirm', code: 'STEP_REFUSED', message: 'refused: too late' },
    })
    expect(await notes(saga.id)).toEqual(['reserve', 'charge 7', 'refund paid', 'release 7'])
    const first = await running.sagas.start(order, { fails: 'reserve' })
    expect((await first.outcome()).status).toBe('COMPENSATED')
    expect(await notes(first.id)).toEqual([])
  })

  it('is the same saga when it is started again with its id', async () => {
    await using running = runSagas(db, { sagas: [order] })
    const id = randomUUID()
    const started = await Promise.all([1, 2, 3].map(() => running.sagas.start(order, {}, { id })))
    expect(started.filter(({ repeated }) => repeated)).toHaveLength(2)
    await started[0]?.outcome()
    expect(await notes(id)).toHaveLength(4)
    await expect(running.sagas.start(order, { fails: 'reserve' }, { id })).rejects.toMatchObject({
      code: 'SAGA_EXISTS',
    })
  })

  it('waits for a process that runs it, and is heard of in another one', async () => {
    const elsewhere = new Sagas(db.pool, { sagas: [order] })
    const saga = await elsewhere.start(order, {})
    const outcome = saga.outcome()
    await using _: Running = runSagas(db, { sagas: [order] })
    expect((await outcome).status).toBe('DONE')
  })
})
