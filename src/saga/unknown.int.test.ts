import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, runSagas, startNotes } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction, participant, StepRefused } from '../index.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-unknown' })
  await startNotes(db)
})
afterAll(() => db[Symbol.asyncDispose]())

const note = (saga: string, text: string) => db.query(`insert into note (saga, text) values ($1, $2)`, [saga, text])
const retry = { first: 1, longest: 5 }

/** A participant elsewhere, as somebody would write it with the helper. */
function ask(key: string, what: string): Promise<unknown> {
  return inTransaction(db.pool, async (tx) => {
    const answer = await participant(tx, { key }, async ({ sagaId, direction }, executed) => {
      const text = direction === 'execute' ? what : `undo ${String(executed)}`
      await tx.query(`insert into note (saga, text) values ($1, $2)`, [sagaId, text])
      return what
    })
    if (answer.outcome === 'refused') throw new StepRefused(answer.reason)
    return answer.result
  })
}

const lost = (): never => {
  throw Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })
}

describe('an answer that gets lost', () => {
  it('is asked for again under the same key, and the step happens once', async () => {
    let tries = 0
    const saga = defineSaga<null>({ name: 'Lost', version: 1 })
      .call('pay', {
        ...{ retry, compensate: null },
        execute: async ({ idempotencyKey }) => {
          const result = await ask(idempotencyKey, 'paid')
          tries += 1
          return tries < 3 ? lost() : result
        },
      })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    expect(await started.outcome()).toEqual({ status: 'DONE', results: { pay: 'paid' } })
    expect([tries, await notesOf(db, started.id)]).toEqual([3, ['paid']])
  })

  it('is not asked for again when the participant knows what became of it', async () => {
    let tries = 0
    const saga = defineSaga<null>({ name: 'Probed', version: 1 })
      .call('pay', {
        ...{ retry, compensate: null },
        execute: async ({ sagaId }) => {
          tries += 1
          await note(sagaId, 'paid')
          return lost() as string
        },
        probe: async ({ sagaId }) => ({ outcome: 'done', result: (await notesOf(db, sagaId))[0] ?? '' }),
      })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    expect(await started.outcome()).toEqual({ status: 'DONE', results: { pay: 'paid' } })
    expect(tries).toBe(1)
  })

  it('leads to a compensation of the step itself, after which a late execute is refused', async () => {
    const late: (() => Promise<unknown>)[] = []
    const saga = defineSaga<{ reached: boolean }>({ name: 'Late', version: 1 })
      .call('reserve', {
        execute: ({ idempotencyKey }) => ask(idempotencyKey, 'reserved'),
        compensate: ({ idempotencyKey }) => ask(idempotencyKey, ''),
      })
      .call('pay', {
        ...{ retry: { ...retry, attempts: 2 }, timeout: 50 },
        execute: async ({ idempotencyKey, input, signal }) => {
          if (input.reached) await ask(idempotencyKey, 'paid')
          late.push(() => ask(idempotencyKey, 'paid'))
          // it never answers
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
        },
        compensate: ({ idempotencyKey }) => ask(idempotencyKey, ''),
      })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    for (const reached of [true, false]) {
      const started = await running.sagas.start(saga, { reached })
      expect(await started.outcome()).toMatchObject({
        status: 'COMPENSATED',
        failure: { step: 'pay', code: 'TIMEOUT' },
      })
      const undone = reached ? ['reserved', 'paid', 'undo paid', 'undo reserved'] : ['reserved', 'undo reserved']
      expect(await notesOf(db, started.id)).toEqual(undone)
      await expect(late.at(-1)?.()).rejects.toMatchObject({ code: 'STEP_REFUSED' })
      expect(await notesOf(db, started.id)).toEqual(undone)
    }
  })

  it('of a pivot is never taken back: the saga is stuck until somebody knows', async () => {
    const saga = defineSaga<null>({ name: 'Pivot', version: 1 })
      .call('reserve', {
        execute: ({ sagaId }) => note(sagaId, 'reserved'),
        compensate: ({ sagaId }) => note(sagaId, 'released'),
      })
      .call('pay', { kind: 'pivot', retry: { ...retry, attempts: 3 }, execute: async () => lost() })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    expect(await started.outcome()).toEqual({
      status: 'STUCK',
      failure: { step: 'pay', code: 'ECONNRESET', message: 'the connection was closed' },
    })
    expect(await notesOf(db, started.id)).toEqual(['reserved'])
    const [row] = await db.query(`select status, owner, due_at from eventing.saga where id = $1`, [started.id])
    expect(row).toEqual({ status: 'STUCK', owner: null, due_at: null })
  })
})

describe('a compensation that fails', () => {
  it('is repeated before the one before it begins, and the saga is stuck when that is in vain', async () => {
    let fails = 3
    const saga = defineSaga<{ forever: boolean }>({ name: 'Back', version: 1 })
      .call('one', {
        execute: ({ sagaId }) => note(sagaId, 'one'),
        compensate: ({ sagaId }) => note(sagaId, 'undo one'),
      })
      .call('two', {
        ...{ compensationRetry: { ...retry, attempts: 4 } },
        execute: ({ sagaId }) => note(sagaId, 'two'),
        compensate: async ({ sagaId, input }) => {
          await note(sagaId, 'try two')
          if (input.forever || fails-- > 0) lost()
        },
      })
      .call('three', { kind: 'pivot', execute: async () => Promise.reject(new StepRefused('no')) })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, { forever: false })
    expect(await started.outcome()).toMatchObject({ status: 'COMPENSATED', failure: { step: 'three' } })
    const tries = ['try two', 'try two', 'try two', 'try two']
    expect(await notesOf(db, started.id)).toEqual(['one', 'two', ...tries, 'undo one'])
    const stuck = await running.sagas.start(saga, { forever: true })
    expect(await stuck.outcome()).toMatchObject({ status: 'STUCK', failure: { step: 'three' } })
    expect(await notesOf(db, stuck.id)).toEqual(['one', 'two', ...tries])
  })
})

describe('when a step is tried again', () => {
  it('not for an error of which its policy says that it does not pass, and the step is taken back too', async () => {
    let tries = 0
    const saga = defineSaga<null>({ name: 'Permanent', version: 1 })
      .call('one', {
        retry: { permanent: (error) => error instanceof TypeError },
        execute: async () => {
          tries += 1
          throw new TypeError('a defect')
        },
        compensate: ({ sagaId }) => note(sagaId, 'undo one'),
      })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    expect(await started.outcome()).toMatchObject({ status: 'COMPENSATED', failure: { code: 'TypeError' } })
    expect([tries, await notesOf(db, started.id)]).toEqual([1, ['undo one']])
  })

  it('not after the deadline of the saga, when it has not come to its pivot', async () => {
    const saga = defineSaga<null>({ name: 'Deadline', version: 1, deadline: 300 })
      .call('one', {
        execute: ({ sagaId }) => note(sagaId, 'one'),
        compensate: ({ sagaId }) => note(sagaId, 'undo one'),
      })
      .call('two', {
        retry: { first: 20, longest: 20, attempts: 1_000 },
        execute: async () => lost(),
        compensate: null,
      })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    expect(await started.outcome()).toMatchObject({ status: 'COMPENSATED', failure: { code: 'DEADLINE', step: null } })
    expect(await notesOf(db, started.id)).toEqual(['one', 'undo one'])
  })

  it('without end after the pivot', async () => {
    let tries = 0
    const saga = defineSaga<null>({ name: 'Forever', version: 1, deadline: 400 })
      .call('one', { kind: 'pivot', execute: async () => 1 })
      .call('two', {
        kind: 'retriable',
        retry: { first: 30, longest: 30 },
        execute: async () => {
          tries += 1
          return tries < 30 ? (lost() as number) : tries
        },
      })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    expect(await started.outcome()).toEqual({ status: 'DONE', results: { one: 1, two: 30 } })
  })
})

describe('steps at the same time', () => {
  it('are taken back when one fails, also those of which it is not known; no more than allowed run at once', async () => {
    let [atOnce, most] = [0, 0]
    const step = (name: string, end: () => Promise<void>) => ({
      retry: { attempts: 1 },
      execute: async ({ sagaId }: { sagaId: string }) => {
        atOnce += 1
        most = Math.max(most, atOnce)
        await new Promise((resolve) => setTimeout(resolve, 20))
        atOnce -= 1
        await end()
        await note(sagaId, name)
      },
      compensate: ({ sagaId }: { sagaId: string }) => note(sagaId, `undo ${name}`),
    })
    const fine = async (): Promise<void> => undefined
    const saga = defineSaga<null>({ name: 'Group', version: 1 })
      .call('first', step('first', fine))
      .parallel(
        (group) =>
          group
            .call('a', step('a', fine))
            .call(
              'b',
              step('b', async () => lost()),
            )
            .call(
              'c',
              step('c', async () => Promise.reject(new StepRefused('no'))),
            ),
        { concurrency: 2 },
      )
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const started = await running.sagas.start(saga, null)
    expect((await started.outcome()).status).toBe('COMPENSATED')
    const notes = await notesOf(db, started.id)
    expect(notes.slice(0, 2)).toEqual(['first', 'a'])
    expect(notes.slice(2, -1).toSorted()).toEqual(['undo a', 'undo b'])
    expect(notes.at(-1)).toBe('undo first')
    expect(most).toBe(2)
  })
})

describe('local steps of many sagas at once', () => {
  it('fail by themselves: the others finish', async () => {
    const saga = defineSaga<{ n: number }>({ name: 'Local', version: 1 })
      .local('write', {
        retry: { attempts: 1 },
        execute: (tx, { sagaId, input }) =>
          tx
            .query(`insert into note (saga, text) values ($1, $2)`, [sagaId, input.n === 17 ? null : 'written'])
            .then(() => 1),
        compensate: null,
      })
      .call('answer', { execute: async ({ input }) => input.n, compensate: null })
      .build()
    await db.query(`alter table note alter text set not null`)
    await using running = runSagas(db, { sagas: [saga] })
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, async (_, n) => (await running.sagas.start(saga, { n })).outcome()),
    )
    expect(outcomes.filter(({ status }) => status === 'DONE')).toHaveLength(49)
    expect(outcomes[17]).toMatchObject({ status: 'COMPENSATED', failure: { step: 'write', code: '23502' } })
  })
})
