import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, type Running, runSagas, startNotes } from '../../test/support/sagas.ts'
import { classify } from '../consumer/classify.ts'
import { defineSaga, inTransaction, participant, type SagaReply, Sagas, StepRefused } from '../index.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-replies' })
  await startNotes(db)
  await db.query(`alter table note alter text set not null`)
})
afterAll(() => db[Symbol.asyncDispose]())

const ordering = defineSaga<null>({ name: 'Ordering', version: 2, replyTo: 'replies' })
  .local('create', {
    execute: async () => null,
    compensate: (tx, { sagaId, failure }) =>
      tx.query(`insert into note (saga, text) values ($1, $2)`, [sagaId, failure.message]),
  })
  .command('reserve', {
    execute: ({ sagaId }) => ({ topic: 'stock', type: 'Reserve', payload: sagaId }),
    compensate: ({ sagaId }) => ({ topic: 'stock', type: 'Release', payload: sagaId }),
    reply: z.object({ left: z.coerce.number(), shelf: z.string().default('none') }),
  })
  .local('confirm', {
    kind: 'pivot',
    execute: async (_, { results }) => {
      if (results.reserve.left === 0) throw new StepRefused('the last one stays here')
      return results.reserve.left + 1
    },
  })
  .build()
/** A process of the release before, which shares the topic of replies. */
const older = () => new Sagas(db.pool, { sagas: [] })

const receive = (sagas: Sagas, reply: unknown) =>
  inTransaction(db.pool, (tx) => sagas.receive(tx, [reply as SagaReply]))

/** A saga that has asked for its command. */
async function asked(running: Running) {
  const started = await running.sagas.start(ordering, null)
  await waits(started.id, 'execute')
  return { ...started, key: `${started.id}/reserve` }
}

const waits = (id: string, direction: string) =>
  until(`exists (select from eventing.outbox where headers ->> 'idempotency-key' = $1)`, `${id}/reserve/${direction}`)

/** Resolves when the database says so. */
async function until(question: string, value: string): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  for (;;) {
    signal.throwIfAborted()
    const [row] = await db.query<{ yes: boolean }>(`select (${question}) as yes`, [value])
    if (row?.yes === true) return
  }
}

describe('a reply', () => {
  it('that refuses without a reason is a refusal, and the saga is taken back', async () => {
    await using running = runSagas(db, { sagas: [ordering] })
    const { key, id, outcome } = await asked(running)
    await receive(running.sagas, { key: `${key}/execute`, answer: { outcome: 'refused' } })
    expect(await outcome({ signal: AbortSignal.timeout(5_000) })).toMatchObject({
      status: 'COMPENSATED',
      failure: { step: 'reserve', code: 'STEP_REFUSED' },
    })
    expect(await notesOf(db, id)).toHaveLength(1)
  })

  it.each([null, 7, {}, { key: null, answer: null }])('that is none is refused for good: %j', async (reply) => {
    const error: Error = (await receive(older(), reply).catch((caught: Error) => caught)) as Error
    expect(error).toMatchObject({ code: expect.stringMatching(/^SAGA_(REPLY|KEY)_INVALID$/) })
    expect(classify(error)).toBe('permanent')
  })

  it('that a process without the version takes is checked by the one that has it', async () => {
    await using running = runSagas(db, { sagas: [ordering] })
    const good = await asked(running)
    await receive(older(), { key: `${good.key}/execute`, answer: { outcome: 'done', result: { left: '7' } } })
    expect(await good.outcome()).toMatchObject({
      status: 'DONE',
      results: { reserve: { left: 7, shelf: 'none' }, confirm: 8 },
    })
    const bad = await asked(running)
    await receive(older(), { key: `${bad.key}/execute`, answer: { outcome: 'done', result: { right: 7 } } })
    await waits(bad.id, 'compensate')
    await receive(older(), { key: `${bad.key}/compensate`, answer: { outcome: 'done', result: null } })
    expect(await bad.outcome()).toMatchObject({ status: 'COMPENSATED', failure: { code: 'SAGA_REPLY_INVALID' } })
  })

  it('to a compensation that a process without the version takes does not make the saga stuck', async () => {
    await using running = runSagas(db, { sagas: [ordering] })
    const { key, id, outcome } = await asked(running)
    await receive(running.sagas, { key: `${key}/execute`, answer: { outcome: 'done', result: { left: 0 } } })
    await waits(id, 'compensate')
    await receive(older(), { key: `${key}/compensate`, answer: { outcome: 'refused', reason: 'not now' } })
    await until(`exists (select from eventing.saga where id = $1 and (status = 'STUCK' or waiting = 'retry'))`, id)
    await receive(older(), { key: `${key}/compensate`, answer: { outcome: 'done', result: null } })
    expect((await outcome()).status).toBe('COMPENSATED')
    const stuck = await db.query(
      `select from eventing.saga_journal where saga_id = $1 and entries @> '[{"do":"stuck"}]'`,
      [id],
    )
    expect(stuck).toEqual([])
  })
})

describe('a participant that was away for longer than a saga waits', () => {
  const patience = { timeout: 30, retry: { first: 1, attempts: 2 }, compensationRetry: { first: 1, attempts: 2 } }
  const away = defineSaga<null>({ name: 'Away', version: 1, replyTo: 'replies', deadline: 60_000 })
    .command('reserve', {
      ...patience,
      execute: ({ sagaId }) => ({ topic: 'stock', type: 'Reserve', payload: sagaId }),
      compensate: ({ sagaId }) => ({ topic: 'stock', type: 'Release', payload: sagaId }),
    })
    .local('confirm', { kind: 'pivot', execute: async () => null })
    .build()

  it.each([
    ['done', { outcome: 'done', result: 1 }],
    ['refused', { outcome: 'refused', reason: 'none is left' }],
  ] as const)('frees the saga when it has done what waited for it; at first it was %s', async (_, answer) => {
    await using running = runSagas(db, { sagas: [away] })
    const { id, outcome } = await running.sagas.start(away, null)
    expect((await outcome()).status).toBe('STUCK')
    const key = `${id}/reserve`
    for (let copies = 0; copies < 2; copies++) await receive(running.sagas, { key: `${key}/execute`, answer })
    await receive(running.sagas, { key: `${key}/compensate`, answer: { outcome: 'done', result: null } })
    await until(`exists (select from eventing.saga where id = $1 and ended_at is not null)`, id)
    expect(await running.sagas.outcome(id)).toMatchObject({ status: 'COMPENSATED', failure: { code: 'TIMEOUT' } })
  })
})

describe('a participant that cannot take back what it did', () => {
  it('says why, and is asked again', async () => {
    const key = `${crypto.randomUUID()}/reserve`
    const ask = (direction: string, handler: () => Promise<unknown>) =>
      inTransaction(db.pool, (tx) => participant(tx, { key: `${key}/${direction}` }, handler))
    await ask('execute', async () => 1)
    const shipped = async () => {
      await db.query(`select 1`)
      throw new StepRefused('it has left the house')
    }
    const refused = { outcome: 'refused', reason: 'it has left the house' }
    expect(await ask('compensate', shipped)).toEqual(refused)
    expect(await ask('compensate', shipped)).toEqual(refused)
    expect(await ask('compensate', async () => 'returned')).toEqual({ outcome: 'done', result: 'returned' })
    expect(await ask('compensate', shipped)).toEqual({ outcome: 'done', result: 'returned' })
  })
})
