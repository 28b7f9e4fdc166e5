import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { until } from '../../test/support/messaging.ts'
import { startReceiver } from '../../test/support/receiver.ts'
import { runSagas } from '../../test/support/sagas.ts'
import { defineSaga } from '../index.ts'
import { sagaAlertMemory, tellOfSagas } from '../saga/alerts.ts'
import { openAlerts } from './alerts.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'hostile-saga-alerts' })
})
afterAll(() => db[Symbol.asyncDispose]())

test('that an alert is over is told again too, by another process, when no target has taken it', async () => {
  await using receiver = await startReceiver()
  const said: string[] = []
  const open = () =>
    openAlerts({
      ...{ project: 'shop', targets: [{ webhook: receiver.url }], memory: sagaAlertMemory(db.pool), env: {} },
      ...{ first: 1, log: (line: string) => void said.push(line) },
    })
  const told = () => receiver.got.map(({ message }) => message.state)
  const stuck = defineSaga<null>({ name: 'Stuck', version: 1 })
    .call('pay', { kind: 'pivot', retry: { attempts: 1 }, execute: () => Promise.reject(new Error('nobody knows')) })
    .build()
  {
    await using alerts = open()
    await using running = runSagas(db, { sagas: [stuck] })
    const { id, outcome } = await running.sagas.start(stuck, null)
    expect((await outcome()).status).toBe('STUCK')
    await tellOfSagas(db.pool, 'orders', alerts)
    await until('somebody was told', async () => {
      const rows = await db.query(`select from eventing.saga_alert where told_at is not null`)
      return rows.length === 1
    })
    // somebody mends it while the receiver is away
    receiver.answers = [500]
    await db.query(`update eventing.saga set ended_at = now(), status = 'DONE' where id = $1`, [id])
    await tellOfSagas(db.pool, 'orders', alerts)
    await until('nobody tries any more', async () => said.length > 0)
  }
  receiver.answers = [204]
  const before = told().length
  await using later = open()
  await tellOfSagas(db.pool, 'orders', later)
  await db.query(`update eventing.saga_alert set tried_at = tried_at - interval '2 minutes'`)
  await tellOfSagas(db.pool, 'orders', later)
  await until('it is over', async () => told().length > before, 5_000)
  expect(told().slice(before)).toEqual(['resolved'])
  await until('that is known', async () => {
    await db.query(`update eventing.saga_alert set tried_at = tried_at - interval '2 minutes'`)
    const rows = await db.query(`select from eventing.saga_alert where over_told_at is not null`)
    return rows.length === 1
  })
  await tellOfSagas(db.pool, 'orders', later)
  await later[Symbol.asyncDispose]()
  expect(told().slice(before)).toEqual(['resolved'])
})
