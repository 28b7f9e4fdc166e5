import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, runSagas, startNotes } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction, Sagas, StepRefused } from '../index.ts'
import { giveOrder, type Order } from './operate.ts'
import { prospectsOf } from './prospect.ts'
import { listLocks, listSagas, readStats, showSaga } from './read.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'saga-orders' })
  await startNotes(db)
})
afterAll(() => db[Symbol.asyncDispose]())

const note = (saga: string, text: string) => db.query(`insert into note (saga, text) values ($1, $2)`, [saga, text])

/** What people outside decide on while it runs. */
const world = { payable: false, refundable: false }
const retry = { first: 1, longest: 2, attempts: 2 }
const saga = defineSaga<{ refused?: boolean }>({ name: 'Ordered', version: 1 })
  .call('one', {
    execute: ({ sagaId }) => note(sagaId, 'one'),
    compensate: ({ sagaId }) => note(sagaId, 'undo one'),
  })
  .call('two', {
    ...{ compensationRetry: retry, execute: ({ sagaId }) => note(sagaId, 'two') },
    async compensate({ sagaId }) {
      if (!world.refundable) throw new Error('nobody refunds')
      await note(sagaId, 'undo two')
    },
  })
  .call('pay', {
    ...{ kind: 'pivot', retry },
    async execute({ sagaId, input }) {
      if (input.refused === true) throw new StepRefused('no money')
      if (!world.payable) throw new Error('the bank hangs')
      await note(sagaId, 'pay')
      return 'paid'
    },
  })
  .call('thank', { kind: 'retriable', execute: ({ sagaId, results }) => note(sagaId, `thank for ${results.pay}`) })
  .build()

async function order(id: string, verb: Order['verb'], more: Partial<Order> & { expectSeq?: number } = {}) {
  const seen = await showSaga(db.pool, 'shop', id)
  return inTransaction(db.pool, (tx) =>
    giveOrder(tx, seen, { ...{ verb, by: 'ann', reason: null, service: 'shop', expectSeq: seen.seq }, ...more }),
  )
}

async function stuckAt(running: { sagas: Sagas }, input: { refused?: boolean } = {}) {
  const started = await running.sagas.start(saga, input)
  expect((await started.outcome()).status).toBe('STUCK')
  return started
}

/** The outcome after an order: not that from before it. */
async function ended(running: { sagas: Sagas }, id: string) {
  for (;;) {
    const { status } = await showSaga(db.pool, 'shop', id)
    if (status === 'DONE' || status === 'COMPENSATED') return await running.sagas.outcome(id)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** What may be ordered, and what comes of it: `skip: execute thank`. */
const prospects = async (id: string) =>
  prospectsOf(await showSaga(db.pool, 'shop', id)).map(
    ({ verb, ahead }) => `${verb}: ${ahead.direction} ${ahead.steps.join(' ')}`,
  )

describe('a saga that is stuck at its pivot', () => {
  it('may be tried again, skipped, or taken back by somebody who has found out', async () => {
    await using running = runSagas(db, { sagas: [saga] })
    const { id } = await stuckAt(running)
    expect(await prospects(id)).toEqual([
      'retry: execute pay thank',
      'skip: execute thank',
      'not-done: compensate two one',
    ])
  })

  it('goes on when the step is tried again', async () => {
    await using running = runSagas(db, { sagas: [saga] })
    const { id } = await stuckAt(running)
    world.payable = true
    expect((await order(id, 'retry')).status).toBe('RUNNING')
    expect(await ended(running, id)).toMatchObject({ status: 'DONE', results: { pay: 'paid' } })
    expect(await notesOf(db, id)).toEqual(['one', 'two', 'pay', 'thank for paid'])
    expect(prospectsOf(await showSaga(db.pool, 'shop', id))).toEqual([])
    world.payable = false
  })

  it('goes on behind it when somebody knows that it happened, with what they say that it gave', async () => {
    await using running = runSagas(db, { sagas: [saga] })
    const { id } = await stuckAt(running)
    await order(id, 'skip', { reason: 'paid, says the bank', result: 'by hand' })
    expect(await ended(running, id)).toMatchObject({ status: 'DONE', results: { pay: 'by hand' } })
    expect(await notesOf(db, id)).toEqual(['one', 'two', 'thank for by hand'])
    const audit = await db.query(`select who, action, reason from eventing.audit where target = $1`, [id])
    expect(audit).toEqual([{ who: 'ann', action: 'saga skip', reason: 'paid, says the bank' }])
  })

  it('is only taken back by somebody who says that it did not happen', async () => {
    world.refundable = true
    await using running = runSagas(db, { sagas: [saga] })
    const { id } = await stuckAt(running)
    await expect(order(id, 'cancel', { reason: 'x' })).rejects.toMatchObject({
      code: 'SAGA_NOT_POSSIBLE',
      message: expect.stringContaining('--not-done'),
    })
    await order(id, 'not-done', { reason: 'the bank has nothing' })
    expect((await ended(running, id)).status).toBe('COMPENSATED')
    expect(await notesOf(db, id)).toEqual(['one', 'two', 'undo two', 'undo one'])
    world.refundable = false
  })

  it('is moved by one of two operators at once', async () => {
    await using running = runSagas(db, { sagas: [saga] })
    const { id } = await stuckAt(running)
    await running.stop()
    const both = await Promise.allSettled([order(id, 'retry'), order(id, 'skip', { reason: 'x' })])
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    const lost = both.find((each) => each.status === 'rejected')
    expect(lost?.reason).toMatchObject({ code: expect.stringMatching(/SAGA_MOVED|SAGA_NOT_POSSIBLE/) })
    await expect(order(id, 'retry', { expectSeq: 1 })).rejects.toMatchObject({ code: 'SAGA_MOVED' })
  })
})

describe('a compensation that is stuck', () => {
  it('is completed, and then the one before it, when it is tried again', async () => {
    await using running = runSagas(db, { sagas: [saga] })
    const { id } = await stuckAt(running, { refused: true })
    await expect(order(id, 'cancel', { reason: 'x' })).rejects.toMatchObject({ code: 'SAGA_NOT_POSSIBLE' })
    expect(await prospects(id)).toEqual(['retry: compensate two one', 'skip: compensate one'])
    expect(await showSaga(db.pool, 'shop', id)).toMatchObject({
      failure: { step: 'pay', code: 'STEP_REFUSED' },
      lastError: { step: 'two', message: 'nobody refunds' },
    })
    world.refundable = true
    expect((await order(id, 'retry')).status).toBe('COMPENSATING')
    expect(await ended(running, id)).toMatchObject({ status: 'COMPENSATED', failure: { step: 'pay' } })
    expect(await notesOf(db, id)).toEqual(['one', 'two', 'undo two', 'undo one'])
    world.refundable = false
  })

  it('may be skipped by somebody who has done it by hand', async () => {
    await using running = runSagas(db, { sagas: [saga] })
    const { id } = await stuckAt(running, { refused: true })
    await order(id, 'skip', { reason: 'refunded by hand' })
    expect((await ended(running, id)).status).toBe('COMPENSATED')
    expect(await notesOf(db, id)).toEqual(['one', 'two', 'undo one'])
  })
})

describe('a saga that runs', () => {
  it('is taken back before its pivot, and tried at once when somebody asks for it', async () => {
    const slow = defineSaga<null>({ name: 'Slow', version: 1 })
      .call('one', {
        execute: ({ sagaId }) => note(sagaId, 'one'),
        compensate: ({ sagaId }) => note(sagaId, 'undo one'),
      })
      .call('two', {
        retry: { first: 60_000, longest: 60_000 },
        execute: () => Promise.reject(new Error('later')),
        compensate: null,
      })
      .build()
    await using running = runSagas(db, { sagas: [slow] })
    const { id } = await running.sagas.start(slow, null)
    const waits = async () => {
      while ((await showSaga(db.pool, 'shop', id)).waiting !== 'retry')
        await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await waits()
    const { seq } = await showSaga(db.pool, 'shop', id)
    await order(id, 'resume')
    while ((await showSaga(db.pool, 'shop', id)).seq < seq + 3) await new Promise((resolve) => setTimeout(resolve, 10))
    await waits()
    expect(await prospects(id)).toEqual(['resume: execute two', 'cancel: compensate one'])
    await expect(order(id, 'retry')).rejects.toMatchObject({ code: 'SAGA_NOT_POSSIBLE' })
    await order(id, 'cancel', { reason: 'the customer called' })
    expect(await ended(running, id)).toMatchObject({
      ...{ status: 'COMPENSATED', failure: { code: 'CANCELLED', message: 'ann: the customer called' } },
    })
    expect(await notesOf(db, id)).toEqual(['one', 'undo one'])
    await expect(order(id, 'cancel', { reason: 'again' })).rejects.toMatchObject({ code: 'SAGA_NOT_POSSIBLE' })
  })

  it('is taken back though its last step was done after the order', async () => {
    const [asked, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const held = defineSaga<null>({ name: 'Held', version: 1 })
      .call('hold', {
        async execute({ sagaId }) {
          asked.resolve()
          await go.promise
          await note(sagaId, 'hold')
        },
        compensate: ({ sagaId }) => note(sagaId, 'undo hold'),
      })
      .build()
    await using running = runSagas(db, { sagas: [held] })
    const { id } = await running.sagas.start(held, null)
    await asked.promise
    await order(id, 'cancel', { reason: 'the customer called' })
    go.resolve()
    expect(await ended(running, id)).toMatchObject({ status: 'COMPENSATED', failure: { code: 'CANCELLED' } })
    expect(await notesOf(db, id)).toEqual(['hold', 'undo hold'])
  })

  it('is not taken back after its pivot', async () => {
    const past = defineSaga<null>({ name: 'Past', version: 1, locks: () => ['bench'] })
      .call('one', { kind: 'pivot', execute: async () => 1 })
      .call('two', {
        kind: 'retriable',
        retry: { first: 60_000, longest: 60_000 },
        execute: () => Promise.reject(new Error('later')),
      })
      .build()
    await using running = runSagas(db, { sagas: [past] })
    const { id } = await running.sagas.start(past, null)
    const behind = await running.sagas.start(past, null)
    while ((await showSaga(db.pool, 'shop', id)).waiting !== 'retry')
      await new Promise((resolve) => setTimeout(resolve, 10))
    await expect(order(id, 'cancel', { reason: 'x' })).rejects.toMatchObject({
      message: expect.stringContaining('past its pivot'),
    })
    await expect(order(behind.id, 'resume')).rejects.toMatchObject({ code: 'SAGA_NOT_POSSIBLE' })
    expect((await listLocks(db.pool)).map(({ saga: holder, before }) => [holder, before])).toEqual([
      [id, 0],
      [behind.id, 1],
    ])
    const { sagas, workers } = await readStats(db.pool)
    expect(sagas.find(({ name }) => name === 'Past')).toMatchObject({ running: 2, waiting: 2, stuck: 0, stranded: 0 })
    expect(workers).toEqual([expect.objectContaining({ definitions: ['Past/1'] })])
    // whoever waits for a lock may be taken back: it has done nothing
    await order(behind.id, 'cancel', { reason: 'too long' })
    expect((await behind.outcome()).status).toBe('COMPENSATED')
  })
})

describe('what is shown', () => {
  it('names a saga by the beginning of its id, and one that nobody runs STRANDED', async () => {
    const { id } = await new Sagas(db.pool, { sagas: [saga] }).start(saga, {})
    expect(await showSaga(db.pool, 'shop', id.slice(0, 8).toUpperCase())).toMatchObject({
      id,
      stranded: true,
      status: 'RUNNING',
    })
    await expect(showSaga(db.pool, 'shop', id.slice(0, 3))).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' })
    expect(await showSaga(db.pool, 'shop', id)).toMatchObject({ id })
    for (const wrong of ['not-hex', `${id.slice(0, 10)}xx`, `${id}0`])
      await expect(showSaga(db.pool, 'shop', wrong)).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' })
    await expect(showSaga(db.pool, 'shop', 'ffffffffffff')).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' })
    const stranded = await listSagas(db.pool, { statuses: ['STRANDED'], name: 'Ordered', limit: 10 })
    expect(stranded.map((row) => row.id)).toContain(id)
    expect(await listSagas(db.pool, { statuses: ['DONE'], name: 'Nothing', limit: 10 })).toEqual([])
  })
})
