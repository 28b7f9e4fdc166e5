import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, runSagas, startNotes } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction, participant, type SagaDefinition, StepRefused } from '../index.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-steps' })
  await startNotes(db)
  await db.query(`create table place (id int primary key)`)
  await db.query(`create table seat (place int references place deferrable initially deferred)`)
})
afterAll(() => db[Symbol.asyncDispose]())

const note = (saga: string, text: string) => db.query(`insert into note (saga, text) values ($1, $2)`, [saga, text])
const retry = { first: 1, longest: 5, attempts: 2 }

async function run<Input>(saga: SagaDefinition<Input, unknown>, input: Input) {
  await using running = runSagas(db, { sagas: [saga] })
  const started = await running.sagas.start(saga, input)
  return { id: started.id, outcome: await started.outcome({ signal: AbortSignal.timeout(8_000) }) }
}

/** A saga whose pivot ends so. */
const pivot = (name: string, execute: () => Promise<unknown>) =>
  defineSaga<null>({ name, version: 1 })
    .call('reserve', {
      execute: ({ sagaId }) => note(sagaId, 'reserve'),
      compensate: ({ sagaId }) => note(sagaId, 'release'),
    })
    .call('pay', { kind: 'pivot', retry, execute })
    .build()

describe('a pivot', () => {
  it('that may have happened is not taken back at the deadline because its next try was not sent', async () => {
    let sent = 0
    const saga = defineSaga<null>({ name: 'Unsent', version: 1, deadline: 400, replyTo: 'replies' })
      .call('reserve', {
        execute: ({ sagaId }) => note(sagaId, 'reserve'),
        compensate: ({ sagaId }) => note(sagaId, 'release'),
      })
      .command('pay', {
        ...{ kind: 'pivot', timeout: 20, retry: { first: 20, longest: 20, attempts: 50 } },
        execute({ sagaId }) {
          sent += 1
          if (sent > 1) throw new Error('there is no such topic any more')
          return { topic: 'payments', type: 'Pay', payload: { sagaId } }
        },
      })
      .build()
    const { id, outcome } = await run(saga, null)
    expect(outcome.status).toBe('STUCK')
    expect(await notesOf(db, id)).toEqual(['reserve'])
  })

  it('is taken back after a refusal that is cut in the middle of a character', async () => {
    const reason = `${'x'.repeat(490)}😀${'y'.repeat(20)}`
    const { id, outcome } = await run(
      pivot('Refused', () => Promise.reject(new StepRefused(reason))),
      null,
    )
    expect(outcome).toMatchObject({ status: 'COMPENSATED', failure: { step: 'pay', code: 'STEP_REFUSED' } })
    expect(await notesOf(db, id)).toEqual(['reserve', 'release'])
  })

  it.each([
    ['MessageObject', Object.assign(new Error(''), { message: { of: 'some client' } })],
    ['CodeNul', Object.assign(new Error('no'), { code: 'E\u0000' })],
    ['NoPrototype', Object.create(null) as unknown],
  ])('is stuck after an error that is none: %s', async (name, error) => {
    const { outcome } = await run(
      pivot(name, () => Promise.reject(error)),
      null,
    )
    expect(outcome.status).toBe('STUCK')
  })

  it('is stuck although its policy throws', async () => {
    const permanent = (error: Error & { response?: { status: number } }) => error.response!.status === 400
    const saga = defineSaga<null>({ name: 'Policy', version: 1 })
      .call('pay', { kind: 'pivot', retry: { ...retry, permanent }, execute: () => Promise.reject(new Error('no')) })
      .build()
    expect((await run(saga, null)).outcome).toMatchObject({ status: 'STUCK', failure: { message: 'no' } })
  })
})

describe('a local step', () => {
  it('that the database refuses at the commit is tried as often as any, and then taken back', async () => {
    let tries = 0
    const saga = defineSaga<null>({ name: 'Deferred', version: 1 })
      .local('seat', {
        ...{ retry, compensate: null },
        execute: async (tx) => {
          tries += 1
          await tx.query(`insert into seat values (7)`)
        },
      })
      .build()
    const { outcome } = await run(saga, null)
    expect(outcome).toMatchObject({ status: 'COMPENSATED', failure: { step: 'seat', code: '23503' } })
    expect(tries).toBe(2)
  })

  it('that goes on after a statement has failed says so', async () => {
    const saga = defineSaga<null>({ name: 'Swallows', version: 1 })
      .local('seat', {
        ...{ retry, compensate: null },
        execute: (tx) => tx.query(`insert into nowhere values (7)`).catch(() => undefined),
      })
      .build()
    const message = expect.stringContaining('an await is missing, or its error was caught (current transaction is')
    expect((await run(saga, null)).outcome).toMatchObject({ failure: { step: 'seat', code: '25P02', message } })
  })

  it('that waits for something for ever ends with its transaction', async () => {
    const saga = defineSaga<null>({ name: 'Hangs', version: 1 })
      .local('hang', { ...{ retry, timeout: 100, compensate: null }, execute: () => new Promise(() => undefined) })
      .build()
    expect((await run(saga, null)).outcome).toMatchObject({ status: 'COMPENSATED', failure: { step: 'hang' } })
  })
})

describe('a result', () => {
  it('that is not JSON is named as such: the step was done', async () => {
    const { outcome } = await run(
      pivot('BigInt', async () => ({ amount: 5n })),
      null,
    )
    const message = 'the result of the step is not JSON: Do not know how to serialize a BigInt'
    expect(outcome).toMatchObject({ status: 'STUCK', failure: { step: 'pay', message } })
  })
})

describe('text', () => {
  /** as somebody else's JSON has it, in a string */
  const text = String.raw`{"body":"\ud83d\ude00 C:\udata \u0000"}`

  it('with a backslash is no character that jsonb does not take', async () => {
    const saga = defineSaga<string>({ name: 'Backslash', version: 1 })
      .call('echo', { retry, compensate: null, execute: async ({ input }) => input })
      .build()
    expect((await run(saga, text)).outcome).toEqual({ status: 'DONE', results: { echo: text } })
  })

  it('that jsonb does not take is refused, at whatever place', async () => {
    const saga = defineSaga<unknown>({ name: 'Taken', version: 1 })
      .call('echo', { retry, compensate: null, execute: async () => null })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    for (const bad of ['\u0000', 'a\\\u0000', '\ud83d', '\\\\\ude00', { '\u0000': 1 }])
      await expect(running.sagas.start(saga, bad)).rejects.toMatchObject({ code: 'SAGA_INPUT_INVALID' })
  })

  it('of a refusal may be anything', async () => {
    const key = `${crypto.randomUUID()}/pay/execute`
    const answer = await inTransaction(db.pool, (tx) =>
      participant(tx, { key }, () => Promise.reject(new StepRefused('no \u0000 \ud83d'))),
    )
    expect(answer).toMatchObject({ outcome: 'refused' })
  })
})

describe('an outcome', () => {
  it('of something that is no saga keeps nobody from theirs', async () => {
    const gate = Promise.withResolvers<void>()
    const saga = defineSaga<null>({ name: 'Others', version: 1 })
      .call('wait', { compensate: null, execute: () => gate.promise })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    const outcome = started.outcome().catch((error: unknown) => error)
    await expect(running.sagas.outcome('nonsense')).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' })
    gate.resolve()
    expect(await outcome).toMatchObject({ status: 'DONE' })
  })
})
