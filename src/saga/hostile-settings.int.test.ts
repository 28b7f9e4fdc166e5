import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openPool } from '../../fixtures/servers/pool.ts'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { notesOf, runSagas, startNotes } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction, participant, Sagas, StepRefused } from '../index.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-settings' })
  await startNotes(db)
})
afterAll(() => db[Symbol.asyncDispose]())

const insert = `insert into note (saga, text) values ($1, $2)`

describe.each([
  ['repeatable read', 40],
  ['serializable', 40],
  ['read committed', 5],
])('a service whose transactions are %s, with %i connections', (isolation, connections) => {
  it('has every step once, and every saga ends', async () => {
    const options = encodeURIComponent(`-c default_transaction_isolation=${isolation.replace(' ', '\\ ')}`)
    const pool = openPool(`${db.url}?options=${options}`, connections)
    const { rows } = await pool.query(`show default_transaction_isolation`)
    expect(rows).toEqual([{ default_transaction_isolation: isolation }])
    const saga = defineSaga<{ refuses: boolean }>({
      ...{ name: `At${isolation.replace(' ', '')}`, version: 1, locks: ({ refuses }) => (refuses ? ['till'] : []) },
    })
      .local('one', {
        ...{ retry: { first: 5, attempts: 100 }, compensationRetry: { first: 5, attempts: 100 } },
        execute: (tx, { sagaId }) => tx.query(insert, [sagaId, 'one']).then(() => null),
        compensate: (tx, { sagaId }) => tx.query(insert, [sagaId, 'undo one']),
      })
      .call('two', {
        compensate: null,
        execute: ({ idempotencyKey: key }) =>
          inTransaction(db.pool, (tx) =>
            participant(tx, { key }, ({ sagaId }) => tx.query(insert, [sagaId, 'two']).then(() => null)),
          ),
      })
      .call('pay', {
        kind: 'pivot',
        execute: ({ input }) => (input.refuses ? Promise.reject(new StepRefused('no')) : Promise.resolve()),
      })
      .build()
    const running = runSagas({ pool }, { sagas: [saga] })
    try {
      const started = await Promise.all(
        Array.from({ length: 60 }, async (_, i) => {
          for (const id = randomUUID().toUpperCase(); ; ) {
            try {
              return { ...(await running.sagas.start(saga, { refuses: i % 3 === 0 }, { id })), refuses: i % 3 === 0 }
            } catch (error) {
              // as it says: the same may be started again
              expect(error).toMatchObject({ code: '40001' })
            }
          }
        }),
      )
      for (const { id, refuses } of started) {
        const { status } = await running.sagas.outcome(id.toUpperCase())
        expect(status).toBe(refuses ? 'COMPENSATED' : 'DONE')
        expect(await notesOf(db, id)).toEqual(refuses ? ['one', 'two', 'undo one'] : ['one', 'two'])
      }
    } finally {
      await running.stop()
      await pool.end()
    }
    expect(await db.query(`select from eventing.saga_worker`)).toEqual([])
  }, 60_000)
})

describe('a participant whose handler has swallowed an error of the database', () => {
  it('is not done', async () => {
    const key = (direction: string) => `${id}/pay/${direction}`
    const id = randomUUID()
    const swallow = (direction: string) =>
      inTransaction(db.pool, (tx) =>
        participant(tx, { key: key(direction) }, async () => {
          await tx.query(`select 1 / 0`).catch(() => undefined)
          return 'paid'
        }),
      )
    await expect(swallow('execute')).rejects.toMatchObject({ code: '25P02' })
    const paid = await inTransaction(db.pool, (tx) => participant(tx, { key: key('execute') }, async () => 'now'))
    expect(paid).toEqual({ outcome: 'done', result: 'now' })
    await expect(swallow('compensate')).rejects.toMatchObject({ code: '25P02' })
    expect(await db.query(`select compensated from eventing.saga_participant where key = $1`, [`${id}/pay`])).toEqual([
      { compensated: null },
    ])
  })
})

describe('a start in a transaction that is rolled back', () => {
  it('leaves nothing, and keeps nobody from its lock', async () => {
    const saga = defineSaga<null>({ name: 'RolledBack', version: 1, locks: () => ['seat', 'seat', ''] })
      .call('one', { compensate: null, execute: async () => 1 })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const sagas = new Sagas(db.pool, { sagas: [saga] })
    const id = randomUUID()
    const undone = inTransaction(db.pool, async (tx) => {
      await sagas.startIn(tx, saga, null, { id })
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    const after = await running.sagas.start(saga, null)
    expect((await after.outcome()).status).toBe('DONE')
    await expect(running.sagas.outcome(id)).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' })
    expect(await db.query(`select from eventing.saga_lock`)).toEqual([])
  })
})

it('says where schema eventing was never installed', async () => {
  const pool = openPool(db.server.url('postgres'), 5)
  try {
    const saga = defineSaga<null>({ name: 'Early', version: 1 })
      .call('one', { execute: async () => 1, compensate: null })
      .build()
    const sagas = new Sagas(pool, { sagas: [saga] })
    const missing = { code: 'EVENTING_MISSING', hint: expect.stringContaining('installEventing(pool)') }
    await expect(sagas.start(saga, null)).rejects.toMatchObject(missing)
    await expect(sagas.run({ signal: AbortSignal.timeout(10_000) })).rejects.toMatchObject(missing)
  } finally {
    await pool.end()
  }
})
