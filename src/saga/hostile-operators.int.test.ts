import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { until } from '../../test/support/messaging.ts'
import { notesOf, type Running, runSagas, startNotes } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction, Sagas, StepRefused } from '../index.ts'
import type { Alert } from '../model/alert.ts'
import { tellOfSagas } from './alerts.ts'
import { giveOrder, type Order } from './operate.ts'
import { listSagas, readStats, showSaga } from './read.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-operators' })
  await startNotes(db)
})
afterAll(() => db[Symbol.asyncDispose]())

const note = (saga: string, text: string) => db.query(`insert into note (saga, text) values ($1, $2)`, [saga, text])

async function order(id: string, verb: Order['verb'], more: Partial<Order> = {}) {
  const seen = await showSaga(db.pool, 'shop', id)
  const given = { verb, by: 'ann', reason: 'x', service: 'shop', expectSeq: seen.seq, ...more }
  return inTransaction(db.pool, (tx) => giveOrder(tx, seen, given))
}

const statusOf = async (id: string): Promise<string> => (await showSaga(db.pool, 'shop', id)).status

async function ended({ sagas }: Running, id: string) {
  await until('it has ended', async () => ['DONE', 'COMPENSATED'].includes(await statusOf(id)), 10_000)
  return sagas.outcome(id)
}

describe('a saga whose last process was killed', () => {
  it('is stranded when nobody else has its version, also before anybody has taken it over', async () => {
    const saga = defineSaga<null>({ name: 'Killed', version: 1 })
      .call('one', { compensate: null, execute: async () => 1 })
      .build()
    const { id } = await new Sagas(db.pool, { sagas: [saga] }).start(saga, null)
    // what kill -9 leaves
    await db.query(
      `with dead as (
         insert into eventing.saga_worker (host, names, versions, lease_until)
         values ('gone/1', '{Killed}', '{1}', now() - interval '1 hour') returning id
       ) update eventing.saga set owner = dead.id, due_at = now() - interval '1 hour' from dead where saga.id = $1`,
      [id],
    )
    const listed = await listSagas(db.pool, { statuses: ['STRANDED'], name: null, limit: 9 })
    expect(listed.map((row) => row.id)).toEqual([id])
    expect((await readStats(db.pool)).sagas).toMatchObject([{ name: 'Killed', stranded: 1 }])
    const raised: Alert[] = []
    await tellOfSagas(db.pool, 'shop', { raise: (alert) => void raised.push(alert), resolve: () => undefined })
    expect(raised).toMatchObject([{ name: 'saga-stranded', subject: 'Killed/1' }])
    await using running = runSagas(db, { sagas: [saga] })
    expect((await running.sagas.outcome(id)).status).toBe('DONE')
  })
})

describe('a parallel group of which two steps are stuck', () => {
  const world = { up: false }
  const lost = async (sagaId: string, text: string): Promise<void> => {
    if (!world.up) throw new Error('nobody knows')
    await note(sagaId, text)
  }
  const retry = { first: 1, longest: 2, attempts: 2 }
  const saga = defineSaga<null>({ name: 'Twice', version: 1 })
    .parallel((group) =>
      group
        .call('a', {
          ...{ compensationRetry: retry, execute: ({ sagaId }) => note(sagaId, 'a') },
          compensate: ({ sagaId }) => lost(sagaId, 'undo a'),
        })
        .call('b', {
          ...{ compensationRetry: retry, execute: ({ sagaId }) => note(sagaId, 'b') },
          compensate: ({ sagaId }) => lost(sagaId, 'undo b'),
        }),
    )
    .local('pay', { kind: 'pivot', execute: () => Promise.reject(new StepRefused('no')) })
    .build()

  it('names the one that an order is about: one is skipped, the other tried again', async () => {
    await using running = runSagas(db, { sagas: [saga] })
    const { id, outcome } = await running.sagas.start(saga, null)
    expect((await outcome()).status).toBe('STUCK')
    const { step: first, lastError } = await showSaga(db.pool, 'shop', id)
    expect(first).toBe(lastError?.step)
    await order(id, 'skip')
    await until('it is stuck at the other', async () => {
      const { status, step } = await showSaga(db.pool, 'shop', id)
      return status === 'STUCK' && step !== first
    })
    world.up = true
    await order(id, 'retry')
    expect(await ended(running, id)).toMatchObject({ status: 'COMPENSATED', failure: { step: 'pay' } })
    const other = first === 'a' ? 'b' : 'a'
    expect((await notesOf(db, id)).toSorted((x, y) => (x < y ? -1 : 1))).toEqual(['a', 'b', `undo ${other}`])
    const audit = await db.query(`select action from eventing.audit where target = $1 order by id`, [id])
    expect(audit).toEqual([{ action: 'saga skip' }, { action: 'saga retry' }])
  })
})

describe('an order whose row of audit cannot be written', () => {
  it('is not given', async () => {
    const saga = defineSaga<null>({ name: 'Audited', version: 1 })
      .call('one', { compensate: null, execute: async () => 1 })
      .build()
    const { id } = await new Sagas(db.pool, { sagas: [saga] }).start(saga, null)
    await db.query(`alter table eventing.audit add constraint broken check (target <> '${id}')`)
    await expect(order(id, 'cancel')).rejects.toMatchObject({ code: '23514' })
    await db.query(`alter table eventing.audit drop constraint broken`)
    expect(await showSaga(db.pool, 'shop', id)).toMatchObject({ status: 'RUNNING', seq: 0, journal: [] })
    await order(id, 'cancel')
    await using running = runSagas(db, { sagas: [saga] })
    expect(await running.sagas.outcome(id)).toMatchObject({ status: 'COMPENSATED', failure: { code: 'CANCELLED' } })
    await expect(order(id, 'retry')).rejects.toMatchObject({ code: 'SAGA_NOT_POSSIBLE' })
    await expect(order(id, 'cancel')).rejects.toMatchObject({ code: 'SAGA_NOT_POSSIBLE' })
  })
})
