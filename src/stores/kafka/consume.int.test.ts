import { afterAll, beforeAll, expect, test } from 'vitest'
import { counted, EFFECTS, effects, startConsumer as start } from '../../../test/support/consumer.ts'
import { type Messaging, startMessaging, until, withAdmin } from '../../../test/support/messaging.ts'
import { enqueue, inTransaction, relayOutbox } from '../../index.ts'

let world: Messaging | null
beforeAll(async () => {
  world = await startMessaging('consume')
  await world?.db.query(EFFECTS)
}, 180_000)
afterAll(() => world?.[Symbol.asyncDispose]())

/** The test's servers; skips it without them. */
function servers(context: { skip(note: string): void }): Messaging {
  if (world === null) context.skip('there is no Kafka on this machine')
  return world as Messaging
}

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

test('the same message twice, and one without an id: ids once, the others by offset', async (context) => {
  const world = servers(context)
  await world.createTopic('repeats', 1)
  const { value } = counted('r', 3)
  await world.send('repeats', [
    ...[counted('r', 1), counted('r', 2), counted('r', 1), counted('r', 2)],
    ...[{ key: 'r', value }, { key: 'r', value }, counted('r', 9)],
  ])
  await using _consumer = start(world, 'repeats', ['repeats'])
  await until('the last one', async () => (await effects(world, 'r')).some(({ n }) => n === 9))
  expect((await effects(world, 'r')).map(({ n }) => n)).toEqual([1, 2, 3, 3, 9])
})

test('a transient failure parks its key, the others go on, and it is handled in order later', async (context) => {
  const world = servers(context)
  const { db } = world
  await world.createTopic('transient', 1)
  await world.send(
    'transient',
    [1, 2, 3, 4].flatMap((n) => ['t-a', 't-b', 't-c'].map((key) => counted(key, n))),
  )
  let broken = true
  await using _consumer = start(world, 'transient', ['transient'], {
    backoff: { first: 50, longest: 50 },
    handlers: {
      async Counted(tx, { key, data }) {
        await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, data.n])
        if (broken && key === 't-b' && data.n === 2) throw new Error('not now')
      },
    },
  })
  await until('the others', async () => (await effects(world, 't-')).length === 9)
  expect((await effects(world, 't-b')).map(({ n }) => n)).toEqual([1])
  expect(
    await db.query(`select k.state, k.error, (select count(*)::int from eventing.parked_record r where r.consumer = k.consumer) as waiting
      from eventing.parked_key k where consumer = 'transient'`),
  ).toEqual([{ state: 'retrying', error: 'Error', waiting: 3 }])
  // a message that comes while its key is parked waits behind
  await world.send('transient', [counted('t-b', 5), counted('t-a', 5)])
  await until('t-a goes on', async () => (await effects(world, 't-a')).length === 5)
  broken = false
  await until('t-b too', async () => (await effects(world, 't-b')).length === 5)
  expect((await effects(world, 't-b')).map(({ n }) => n)).toEqual([1, 2, 3, 4, 5])
  await until('nothing is parked', async () => {
    return (await db.query(`select 1 from eventing.parked_key where consumer = 'transient'`)).length === 0
  })
})

const PERMANENT: readonly (readonly ['block-key' | 'skip', number[]])[] = [
  ['block-key', [1]],
  ['skip', [1, 3]],
]
test.each(PERMANENT)('a permanent failure with %s: a letter with the bytes as they came', async (policy, handled) => {
  if (world === null) return
  const topic = `permanent-${policy}`
  await world.createTopic(topic, 1)
  const poison = '\u0001{not json'
  await world.send(topic, [
    counted(`${policy}-x`, 1),
    counted(`${policy}-x`, poison, 'poison'),
    counted(`${policy}-x`, 3),
  ])
  await world.send(topic, [counted(`${policy}-y`, 1)])
  const letters: bigint[] = []
  await using _consumer = start(world, topic, [topic], {
    afterDeadLetter: policy,
    onDeadLetter: ({ offset }) => letters.push(offset),
  })
  await until('the other key', async () => (await effects(world as Messaging, `${policy}-y`)).length === 1)
  expect((await effects(world, `${policy}-x`)).map(({ n }) => n)).toEqual(handled)
  const [letter, ...others] = await world.readTopic(`${topic}-dlt`)
  expect(others).toEqual([])
  expect(letter?.value?.toString()).toBe(poison)
  expect(letter?.key?.toString()).toBe(`${policy}-x`)
  const headers = letter?.headers as Record<string, Buffer>
  expect(headers.id?.toString()).toBe('poison')
  expect(headers['kafka_dlt-original-topic']?.toString()).toBe(topic)
  expect(headers['kafka_dlt-original-partition']).toEqual(Buffer.from([0, 0, 0, 0]))
  expect(headers['kafka_dlt-original-offset']?.readBigInt64BE()).toBe(1n)
  expect(headers['kafka_dlt-exception-fqcn']?.toString()).toBe('MigrateError.MESSAGE_INVALID')
  expect(letters).toEqual([1n])
  const rows = await world.db.query(
    `select record_offset::int as at, state, convert_from(value, 'utf8') as value
    from eventing.dead_letter where consumer = $1`,
    [topic],
  )
  expect(rows).toEqual([{ at: 1, state: 'open', value: poison }])
})

test('handleBatch gets halves until the one that fails is alone', async (context) => {
  const world = servers(context)
  await world.createTopic('halves', 1)
  await world.send(
    'halves',
    Array.from({ length: 40 }, (_, n) => counted(`h-${n % 8}`, n)),
  )
  await using _consumer = start(world, 'halves', ['halves'], {
    handlers: undefined as never,
    afterDeadLetter: 'skip',
    async handleBatch(tx, messages) {
      for (const { key, data } of messages) {
        await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, data.n])
        // PostgreSQL refuses it, which ends the transaction
        if (data.n === 17) await tx.query(`select 1 / 0`)
      }
    },
  })
  await until('39 of 40', async () => (await effects(world, 'h-')).length === 39)
  const letters = await world.db.query(
    `select record_offset::int as at, error from eventing.dead_letter where consumer = 'halves'`,
  )
  expect(letters).toEqual([{ at: 17, error: 'error.22012' }])
})

test('an outage parks nothing and passes nothing over; it goes on by itself', async (context) => {
  const world = servers(context)
  await world.createTopic('outage', 1)
  await world.send(
    'outage',
    Array.from({ length: 60 }, (_, n) => counted(`u-${n}`, n)),
  )
  let broken = true
  const troubles: string[] = []
  const paused = Promise.withResolvers<void>()
  await using _consumer = start(world, 'outage', ['outage'], {
    handlers: {
      async Counted(tx, { key, data }) {
        if (broken) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
        await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, data.n])
      },
    },
    onTrouble(error) {
      troubles.push((error as { code?: string }).code ?? error.message)
      paused.resolve()
    },
  })
  await paused.promise
  expect(troubles).toEqual(['CONSUMER_PAUSED'])
  expect(await world.db.query(`select 1 from eventing.parked_key where consumer = 'outage'`)).toEqual([])
  broken = false
  await until('all', async () => (await effects(world, 'u-')).length === 60)
})

test('twenty keys that fail beside one that does not are no outage', async (context) => {
  const world = servers(context)
  await world.createTopic('bad-keys', 1)
  await world.send(
    'bad-keys',
    Array.from({ length: 31 }, (_, n) => counted(`k-${n}`, n)),
  )
  await using _consumer = start(world, 'bad-keys', ['bad-keys'], {
    backoff: { first: 600_000, longest: 600_000 },
    handlers: {
      async Counted(tx, { key, data }) {
        if (data.n < 30) throw new Error('refused')
        await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, data.n])
      },
    },
  })
  await until('the good one', async () => (await effects(world, 'k-')).length === 1)
  const [parked] = await world.db.query(
    `select count(*)::int as n from eventing.parked_key where consumer = 'bad-keys'`,
  )
  expect(parked).toEqual({ n: 30 })
})

test('above maxParkedKeys it pauses', async (context) => {
  const world = servers(context)
  await world.createTopic('many', 1)
  await world.send('many', [...[0, 1, 2, 3].map((n) => counted(`m-${n}`, n)), counted('m-good', 9)])
  const paused = Promise.withResolvers<Error>()
  await using _consumer = start(world, 'many', ['many'], {
    ...{ maxParkedKeys: 3, onTrouble: (error: Error) => paused.resolve(error) },
    handlers: {
      async Counted(_, { data }) {
        if (data.n < 4) throw new Error('refused')
      },
    },
  })
  expect((await paused.promise).message).toMatch(/4 keys would be parked, at most 3/)
  expect(await world.db.query(`select 1 from eventing.parked_key where consumer = 'many'`)).toEqual([])
})

test('a handler that swallows an error of PostgreSQL loses nothing silently', async (context) => {
  const world = servers(context)
  await world.createTopic('swallow', 1)
  await world.send('swallow', [counted('s-1', 1), counted('s-2', 2), counted('s-3', 3)])
  await using _consumer = start(world, 'swallow', ['swallow'], {
    backoff: { first: 600_000, longest: 600_000 },
    handlers: {
      async Counted(tx, { key, data }) {
        await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, data.n])
        if (data.n === 2) await tx.query('select nonsense').catch(() => undefined)
      },
    },
  })
  await until('the others', async () => (await effects(world, 's-')).length === 2)
  expect((await effects(world, 's-')).map(({ n }) => n)).toEqual([1, 3])
  await until('parked', async () => {
    return (await world.db.query(`select 1 from eventing.parked_key where consumer = 'swallow'`)).length === 1
  })
})

test('an offset that the log does not have is told, and nothing is passed over', async (context) => {
  const world = servers(context)
  await world.createTopic('cut', 1)
  await world.send(
    'cut',
    [1, 2, 3, 4, 5, 6].map((n) => counted('cut', n)),
  )
  await world.db.query(
    `insert into eventing.consumer_offset values ('beyond', 'cut', 0, 1, 50), ('before', 'cut', 0, 1, 2)`,
  )
  await withAdmin(world.client, async (admin) => {
    // kafkajs deletes only of topics that it has asked about
    await admin.fetchTopicOffsets('cut')
    await admin.deleteTopicRecords({ topic: 'cut', partitions: [{ partition: 0, offset: '4' }] })
  })
  for (const [name, found] of [
    ['beyond', /at offset 50 of cut\/0, which has 4 to 6/],
    ['before', /at offset 2 of cut\/0, which has 4 to 6/],
  ] as const) {
    const told = Promise.withResolvers<Error>()
    await using _consumer = start(world, name, ['cut'], { onTrouble: told.resolve })
    expect((await told.promise).message).toMatch(found)
  }
  expect(await effects(world, 'cut')).toEqual([])
})

test('a group that has expired goes on where the database says', async (context) => {
  const world = servers(context)
  await world.createTopic('expired', 2)
  const send = (from: number) =>
    world.send(
      'expired',
      Array.from({ length: 20 }, (_, i) => ({ key: `e-${i % 4}`, value: JSON.stringify({ n: from + i }) })),
    )
  await send(0)
  {
    await using _consumer = start(world, 'expired', ['expired'])
    await until('the first ones', async () => (await effects(world, 'e-')).length === 20)
  }
  await withAdmin(world.client, (admin) => admin.deleteGroups(['expired']))
  await send(20)
  await using _consumer = start(world, 'expired', ['expired'])
  await until('the next ones', async () => (await effects(world, 'e-')).length >= 40)
  const numbers = (await effects(world, 'e-')).map(({ n }) => n).sort((a, b) => a - b)
  expect(numbers).toEqual(Array.from({ length: 40 }, (_, n) => n))
})
