import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Messaging, startMessaging, until } from '../../../test/support/messaging.ts'
import { consumeReplies, defineSaga, event, relayOutbox, Sagas, serveCommands, StepRefused } from '../../index.ts'

let messaging: Messaging | null
const ending = new AbortController()
const running: Promise<unknown>[] = []
let sagas: Sagas

const commands = {
  Reserve: event({ schema: z.object({ quantity: z.int() }) }),
  Release: event({ schema: z.object({ quantity: z.int() }) }),
}

const order = defineSaga<{ quantity: number; fails?: boolean }>({
  name: 'Ordering',
  version: 1,
  replyTo: 'saga.replies',
})
  .command('reserve', {
    execute: ({ input: { quantity } }) => ({ topic: 'stock.commands', type: 'Reserve', payload: { quantity } }),
    compensate: ({ input: { quantity } }) => ({ topic: 'stock.commands', type: 'Release', payload: { quantity } }),
    reply: z.object({ left: z.int() }),
  })
  .local('accept', {
    kind: 'pivot',
    execute: async (_, { input, results }) => {
      if (input.fails === true) throw new StepRefused('not today')
      return results.reserve.left
    },
  })
  .build()

beforeAll(async () => {
  messaging = await startMessaging('saga-commands')
  if (messaging === null) return
  const { db, kafka } = messaging
  await db.query(`create table stock (available int check (available >= 0), calls int default 0)`)
  await db.query(`insert into stock values (10)`)
  await db.query(
    `insert into eventing.saga_participant (key, created_at)
     select 'old/' || n, now() - interval '91 days' from generate_series(1, 25000) as n`,
  )
  for (const topic of ['stock.commands', 'saga.replies']) await messaging.createTopic(topic, 2)
  const { signal } = ending
  sagas = new Sagas(db.pool, { sagas: [order] })
  running.push(
    sagas.run({ signal }),
    relayOutbox({ pool: db.pool, kafka, name: 'shop', signal }),
    consumeReplies({ pool: db.pool, kafka, name: 'replies', topic: 'saga.replies', signal, sagas }),
    serveCommands({
      ...{ pool: db.pool, kafka, name: 'stock', topic: 'stock.commands', signal, commands },
      handlers: {
        async Reserve(tx, { data: { quantity } }) {
          const { rows } = await tx.query(
            `update stock set available = available - $1, calls = calls + 1 where available >= $1 returning available`,
            [quantity],
          )
          if (rows.length === 0) throw new StepRefused('there are not so many')
          return { left: (rows[0] as { available: number }).available }
        },
        async Release(tx, { data: { quantity }, executed }) {
          expect(executed).toEqual({ left: expect.any(Number) })
          await tx.query(`update stock set available = available + $1, calls = calls + 1`, [quantity])
        },
      },
    }),
  )
}, 120_000)

afterAll(async () => {
  ending.abort()
  await Promise.all(running)
  await messaging?.[Symbol.asyncDispose]()
})

const stock = async () => (await messaging?.db.query(`select available, calls from stock`))?.[0]

describe('a saga that sends commands', () => {
  it('goes on with the reply, is taken back over the same way, and hears of a refusal', async (test) => {
    if (messaging === null) return test.skip()
    const done = await sagas.start(order, { quantity: 3 })
    expect(await done.outcome()).toEqual({ status: 'DONE', results: { reserve: { left: 7 }, accept: 7 } })
    const back = await sagas.start(order, { quantity: 5, fails: true })
    expect(await back.outcome()).toMatchObject({ status: 'COMPENSATED', failure: { step: 'accept' } })
    expect(await stock()).toEqual({ available: 7, calls: 3 })
    const refused = await sagas.start(order, { quantity: 50 })
    expect(await refused.outcome()).toMatchObject({
      status: 'COMPENSATED',
      failure: { step: 'reserve', message: 'there are not so many' },
    })
    expect(await stock()).toEqual({ available: 7, calls: 3 })
  })

  it('keeps no worker busy while it waits, and takes a command that comes again for the same one', async (test) => {
    if (messaging === null) return test.skip()
    const before = await stock()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const saga = await sagas.start(order, { quantity: 1 }, { traceparent })
    await saga.outcome()
    const sent = (await messaging.readTopic('stock.commands')).filter(({ headers }) =>
      String(headers?.['idempotency-key']).startsWith(saga.id),
    )
    expect(sent.map((message) => String(message.headers?.traceparent))).toEqual([traceparent])
    const headers = { type: 'Reserve', id: 'another', 'idempotency-key': `${saga.id}/reserve/execute` }
    await messaging.send('stock.commands', [
      { key: saga.id, value: '{"quantity":1}', headers: { ...headers, 'saga-reply-to': 'saga.replies' } },
    ])
    const replies = async () =>
      (await (messaging as Messaging).readTopic('saga.replies')).filter(({ key }) => String(key) === saga.id)
    await until('the second reply', async () => (await replies()).length === 2)
    const [first, second] = await replies()
    expect(String(first?.headers?.traceparent)).toBe(traceparent)
    expect(String(second?.value)).toBe(String(first?.value))
    expect(await stock()).toEqual({ available: before?.available - 1, calls: before?.calls + 1 })
  })

  it('forgets what it answered long ago, however much it is', async (test) => {
    if (messaging === null) return test.skip()
    const old = `select from eventing.saga_participant where key like 'old/%' limit 1`
    await until('nothing old is left', async () => (await messaging?.db.query(old))?.length === 0)
  })
})
