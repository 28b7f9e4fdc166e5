import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { runSagas } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction, Sagas } from '../index.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-versions' })
})
afterAll(() => db[Symbol.asyncDispose]())

const gate = Promise.withResolvers<void>()
const make = (version: number, answer: string, more = false) => {
  const saga = defineSaga<null>({ name: 'Versioned', version }).call('one', {
    execute: async () => {
      if (version === 1) await gate.promise
      return answer
    },
    compensate: null,
  })
  return more ? saga.call('two', { execute: async () => 2, compensate: null }).build() : saga.build()
}

describe('versions of a definition', () => {
  it('are kept: a running saga goes on with its own, and a new one with the new', async () => {
    const [one, two] = [make(1, 'old'), make(2, 'new', true)]
    await using old = runSagas(db, { sagas: [one] })
    const first = await old.sagas.start(one, null)
    await using both = runSagas(db, { sagas: [two, one] })
    const second = await both.sagas.start(two, null)
    expect(await second.outcome()).toEqual({ status: 'DONE', results: { one: 'new', two: 2 } })
    gate.resolve()
    expect(await first.outcome()).toEqual({ status: 'DONE', results: { one: 'old' } })
  })

  it('wait for a process that has them', async () => {
    const [one, two] = [make(1, 'old'), make(2, 'new', true)]
    await using newer = runSagas(db, { sagas: [two] })
    const waiting = await new Sagas(db.pool, { sagas: [one] }).start(one, null)
    // a whole round of claims goes by
    await (await newer.sagas.start(two, null)).outcome()
    expect(await db.query(`select status, owner from eventing.saga where id = $1`, [waiting.id])).toEqual([
      { status: 'RUNNING', owner: null },
    ])
    await using older = runSagas(db, { sagas: [one] })
    expect((await older.sagas.outcome(waiting.id)).status).toBe('DONE')
  })

  it('cannot be changed', async () => {
    const changed = make(1, 'old', true)
    await expect(new Sagas(db.pool, { sagas: [changed] }).start(changed, null)).rejects.toMatchObject({
      code: 'SAGA_DEFINITION_CHANGED',
      message: expect.stringContaining(
        'one (compensable, call) then, one (compensable, call), two (compensable, call) now',
      ),
    })
    const { signal } = new AbortController()
    const running = new Sagas(db.pool, { sagas: [changed] }).run({ signal })
    await expect(running).rejects.toMatchObject({ code: 'SAGA_DEFINITION_CHANGED' })
    const twice = new Sagas(db.pool, { sagas: [make(1, ''), make(1, '')] })
    await expect(twice.run({ signal })).rejects.toMatchObject({
      code: 'SAGA_DEFINITION_INVALID',
    })
  })
})

describe('a start', () => {
  it('inside a transaction takes place with it, or not at all', async () => {
    const two = make(2, 'new', true)
    await using running = runSagas(db, { sagas: [two] })
    const started = await inTransaction(db.pool, (tx) => running.sagas.startIn(tx, two, null))
    expect((await started.outcome()).status).toBe('DONE')
    const undone: string[] = []
    const failing = inTransaction(db.pool, async (tx) => {
      undone.push((await running.sagas.startIn(tx, two, null)).id)
      throw new Error('undone')
    })
    await expect(failing).rejects.toThrow('undone')
    await expect(running.sagas.outcome(undone[0] ?? '')).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' })
  })

  it.each<[string, () => unknown, object, string]>([
    ['ids that are none', () => null, { id: 'x' }, 'UUID'],
    ['trace contexts that are none', () => null, { traceparent: 'x' }, 'trace context'],
    ['what is not JSON', () => 1n, {}, 'JSON'],
    ['what PostgreSQL cannot store', () => 'a\u0000b', {}, 'jsonb'],
  ])('refuses %s', async (_, input, options, reason) => {
    const two = make(2, 'new', true)
    const sagas = new Sagas(db.pool, { sagas: [two] })
    await expect(sagas.start(two, input() as null, options)).rejects.toMatchObject({
      code: 'SAGA_INPUT_INVALID',
      message: expect.stringContaining(reason),
    })
  })

  it('is only for what this process has', async () => {
    const sagas = new Sagas(db.pool, { sagas: [] })
    await expect(sagas.start(make(2, ''), null)).rejects.toMatchObject({ code: 'SAGA_NOT_DEFINED' })
  })
})
