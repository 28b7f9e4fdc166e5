import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type Messaging, startMessaging, until } from '../../../test/support/messaging.ts'
import { consume, type ConsumerOptions, enqueue, event, inTransaction, relayOutbox } from '../../index.ts'

const events = { Counted: event({ schema: z.object({ n: z.number() }) }) }

let world: Messaging | null
beforeAll(async () => {
  world = await startMessaging('consume')
  await world?.db.query(`create table effect (id bigint generated always as identity, key text, n int)`)
}, 180_000)
afterAll(() => world?.[Symbol.asyncDispose]())

/** The test's servers; skips it without them. */
function servers(context: { skip(note: string): void }): Messaging {
  if (world === null) context.skip('there is no Kafka on this machine')
  return world as Messaging
}

type Options = Partial<ConsumerOptions<typeof events>>

/** A consumer that writes rows of `effect`; ends with the block that opened it. */
function start({ db, kafka }: Messaging, name: string, topics: string[], more: Options = {}): AsyncDisposable {
  const stop = new AbortController()
  const running = consume({
    ...{ pool: db.pool, kafka, name, topics, events, signal: stop.signal },
    handlers: {
      async Counted(tx, { key, data }) {
        await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, data.n])
      },
    },
    ...more,
  } as Parameters<typeof consume<typeof events>>[0])
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

const effects = async ({ db }: Messaging, prefix: string) =>
  db.query<{ key: string; n: number }>(`select key, n from effect where key like $1 || '%' order by id`, [prefix])

test('outbox to effect: in order, each once', async (context) => {
  const world = servers(context)
  const { db, kafka } = world
  await world.createTopic('outbox.event.counter', 2)
  for (let n = 1; n <= 20; n++) {
    await inTransaction(db.pool, (tx) =>
      enqueue(tx, [
        { aggregateType: 'counter', aggregateId: `o-${n % 2}`, type: 'Counted', payload: { n } },
        { aggregateType: 'counter', aggregateId: `o-${n % 2}`, type: 'Unknown', payload: {} },
      ]),
    )
  }
  const stop = new AbortController()
  const relaying = relayOutbox({ pool: db.pool, kafka, name: 'consume', signal: stop.signal })
  await using _consumer = start(world, 'first', ['outbox.event.counter'])
  await until('all handled', async () => (await effects(world, 'o-')).length === 20)
  expect(await db.query(`select 1 from eventing.outbox`)).toEqual([])
  for (const odd of [0, 1]) {
    const numbers = (await effects(world, `o-${odd}`)).map(({ n }) => n)
    expect(numbers).toEqual(Array.from({ length: 20 }, (_, i) => i + 1).filter((n) => n % 2 === odd))
  }
  stop.abort()
  await relaying
})
