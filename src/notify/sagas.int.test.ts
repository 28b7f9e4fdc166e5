import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { until } from '../../test/support/messaging.ts'
import { startReceiver } from '../../test/support/receiver.ts'
import { runSagas } from '../../test/support/sagas.ts'
import { defineSaga, openSagaAlerts, Sagas, StepRefused } from '../index.ts'
import type { Alert } from '../model/alert.ts'
import { tellOfSagas } from '../saga/alerts.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'saga-alerts' })
})
afterAll(() => db[Symbol.asyncDispose]())

const lost = async (): Promise<never> => Promise.reject(new Error('nobody knows'))
const stuck = defineSaga<null>({ name: 'Stuck', version: 1 })
  .call('pay', { kind: 'pivot', retry: { attempts: 1 }, execute: lost })
  .build()
const vain = defineSaga<null>({ name: 'Vain', version: 1, deadline: 10_000 })
  .call('pay', { kind: 'pivot', execute: async () => 1 })
  .call('thank', { kind: 'retriable', retry: { first: 5, longest: 20 }, execute: lost })
  .build()
const old = defineSaga<null>({ name: 'Old', version: 1 })
  .call('one', { execute: async () => 1, compensate: null })
  .build()

describe('alerts of sagas', () => {
  test('are told once by several processes, and once when they are over', { timeout: 90_000 }, async () => {
    await using receiver = await startReceiver()
    const targets = [{ webhook: receiver.url }]
    await using one = openSagaAlerts(db.pool, { targets, project: 'shop' })
    await using two = openSagaAlerts(db.pool, { targets, project: 'shop' })
    await using first = runSagas(db, { sagas: [stuck, vain], alerts: one, service: 'orders' })
    await using second = runSagas(db, { sagas: [stuck, vain], alerts: two, service: 'orders' })
    const payment = await first.sagas.start(stuck, null)
    expect((await payment.outcome()).status).toBe('STUCK')
    const thanks = await second.sagas.start(vain, null)
    const lonely = await new Sagas(db.pool, { sagas: [old] }).start(old, null)
    await db.query(`update eventing.saga set deadline = now() - interval '1 minute' where id = $1`, [thanks.id])
    const told = () => receiver.got.map(({ message }) => message as { name: string; state: string; subject: string })
    await until('four alerts', async () => told().length >= 4)
    const subjects = (state: string) =>
      told()
        .filter((message) => message.state === state)
        .map(({ name, subject }) => `${name} ${subject}`)
        .toSorted((a, b) => (a < b ? -1 : 1))
    const raised = [
      `saga-late ${thanks.id}`,
      `saga-retrying ${thanks.id}`,
      'saga-stranded Old/1',
      `saga-stuck ${payment.id}`,
    ]
    expect(subjects('raised')).toEqual(raised)
    expect(told()[0]).toMatchObject({
      service: 'orders',
      project: 'shop',
      next: expect.stringMatching(/^migrate saga s/),
    })
    // all is well, as when an operator has helped
    await db.query(
      `update eventing.saga set ended_at = now(), status = 'DONE', due_at = null, owner = null, epoch = epoch + 1
      where id = any ($1)`,
      [[payment.id, thanks.id, lonely.id]],
    )
    await until('they are over', async () => subjects('resolved').length >= 4)
    expect(subjects('resolved')).toEqual(raised)
    expect(told()).toHaveLength(8)
    expect([...first.troubles, ...second.troubles]).toEqual([])
  })

  test('of a step that is tried in vain do not end while a try is under way', async () => {
    const go = Promise.withResolvers<void>()
    let tries = 0
    const tried = Promise.withResolvers<void>()
    const hangs = defineSaga<null>({ name: 'Hangs', version: 1 })
      .call('thank', {
        ...{ kind: 'retriable', retry: { first: 1, longest: 2 } },
        async execute() {
          tries += 1
          if (tries <= 10) throw new Error('no')
          tried.resolve()
          await go.promise
        },
      })
      .build()
    await using running = runSagas(db, { sagas: [hangs], poll: 20 })
    const { id, outcome } = await running.sagas.start(hangs, null)
    await tried.promise
    const raised: Alert[] = []
    const alerts = { raise: (alert: Alert) => void raised.push(alert), resolve: () => undefined }
    await tellOfSagas(db.pool, 'orders', alerts)
    expect(raised).toMatchObject([{ name: 'saga-retrying', subject: id, context: { count: 10, step: 'thank' } }])
    // whoever was told is not asked about it again
    await db.query(`insert into eventing.saga_alert values ('saga-retrying', $1, '', '', now(), now(), now())`, [id])
    await tellOfSagas(db.pool, 'orders', alerts)
    expect(raised).toHaveLength(1)
    go.resolve()
    expect((await outcome()).status).toBe('DONE')
  })

  test('of a compensation that is stuck name its own error, not that of the step that failed', async () => {
    const torn = defineSaga<null>({ name: 'Torn', version: 1 })
      .call('one', { execute: async () => 1, compensationRetry: { attempts: 1 }, compensate: lost })
      .call('two', { kind: 'pivot', execute: () => Promise.reject(new StepRefused('no')) })
      .build()
    await using running = runSagas(db, { sagas: [torn] })
    const { id, outcome } = await running.sagas.start(torn, null)
    expect((await outcome()).status).toBe('STUCK')
    const raised: Alert[] = []
    await tellOfSagas(db.pool, 'orders', { raise: (alert) => void raised.push(alert), resolve: () => undefined })
    expect(raised.map(({ summary }) => summary)).toEqual([`saga ${id} (Torn/1) is stuck at one: Error`])
  })
})
