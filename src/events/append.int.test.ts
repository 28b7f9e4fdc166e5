// Where appends of several callers meet: ids that are there already, what the database refuses, a stream that somebody
// holds, an epoch that begins.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { event, EventStore, inTransaction, START, verifyEvents } from '../index.ts'
import { appendAll } from './append.ts'
import { readAfter } from './read.ts'

const events = { Counted: event<{ n: number }>(), Named: event<{ name: unknown }>() }
let db: Eventing
let store: EventStore<typeof events>
beforeAll(async () => {
  db = await startEventing({ name: 'append' })
  store = new EventStore(db.pool, { events })
})
afterAll(() => db[Symbol.asyncDispose]())

const counted = (n: number, id: string = randomUUID()) => ({ type: 'Counted' as const, data: { n }, id })
const outcome = (append: Promise<{ version: number }>): Promise<number | string> =>
  append.then(
    ({ version }) => version,
    (error: unknown) => (error as { code: string }).code,
  )

describe('ids of events', () => {
  test.each(['any', 'exists', 3] as const)('expecting %s: one that the stream has is an overlap', async (mode) => {
    const stream = `again-${mode}`
    const [first, second] = [counted(1), counted(2)]
    await store.append(stream, [first, second, counted(3)], { expectedVersion: 'no-stream' })
    expect(await outcome(store.append(stream, [second, counted(4)], { expectedVersion: mode }))).toBe('EVENTS_OVERLAP')
    const inside = inTransaction(db.pool, (tx) =>
      store.appendIn(tx, stream, [counted(5), first], { expectedVersion: mode }),
    )
    expect(await outcome(inside)).toBe('EVENTS_OVERLAP')
    expect(await store.read(stream)).toHaveLength(3)
  })

  test.each([
    ['twice in one append', (id: string) => [counted(1, id), counted(2, id.toUpperCase())]],
    ['no UUID', () => [counted(1, 'order-42')]],
  ])('%s is refused', async (_, make) => {
    const made = make(randomUUID())
    expect(await outcome(store.append('ids', made, { expectedVersion: 'any' }))).toBe('EVENT_INVALID')
  })
})

test.each([
  ['a character that PostgreSQL cannot store', 'a\u0000secret'],
  ['half a character', '\ud800secret'],
  ['what JSON does not know', 12n],
])('%s is refused, alone and in a transaction, and the error does not repeat it', async (_, name) => {
  const refused = { type: 'Named' as const, data: { name } }
  const options = { expectedVersion: 'any' as const }
  const errors = await Promise.all([
    store.append('refused', [refused], options).catch((error: unknown) => error),
    inTransaction(db.pool, (tx) => store.appendIn(tx, 'refused', [refused], options)).catch((error: unknown) => error),
  ])
  for (const error of errors) {
    expect(error).toMatchObject({ code: 'EVENT_INVALID' })
    expect((error as Error).message).not.toContain('secret')
  }
})

test('without the schema the error of the database comes through, also from the middle of a batch', async () => {
  const missing = new EventStore(db.admin, { events })
  await db.admin.query(`alter schema eventing rename to elsewhere`)
  try {
    const both = ['a', 'b'].map((stream) => outcome(missing.append(stream, [counted(1)], { expectedVersion: 'any' })))
    expect(await Promise.all(both)).toEqual(['3F000', '3F000'])
  } finally {
    await db.admin.query(`alter schema elsewhere rename to eventing`)
  }
})

test('a stream that a transaction holds keeps only its own appends waiting, not those that come later', async () => {
  await store.append('held', [counted(1)], { expectedVersion: 'any' })
  const holder = await db.pool.connect()
  await holder.query('begin')
  await store.appendIn(holder, 'held', [counted(2)], { expectedVersion: 'any' })
  const waiting = [3, 4].map((n) => store.append('held', [counted(n)], { expectedVersion: 'any' }))
  await blocked(1)
  const others = [0, 1, 2].map((i) => outcome(store.append(`free-${i}`, [counted(1)], { expectedVersion: 0 })))
  const done = await Promise.race([Promise.all(others), expired(10_000)])
  await holder.query('commit')
  holder.release()
  expect(done).toEqual([1, 1, 1])
  expect((await Promise.all(waiting)).map(({ version }) => version)).toEqual([3, 4])
})

test('appends to the same new streams in whatever order never wait for each other in a ring', async () => {
  const failures: string[] = []
  for (let round = 0; round < 60; round++) {
    const names = ['a', 'b', 'c', 'd'].map((name) => `ring-${round}-${name}`)
    await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        const mine = [names[i % 4], names[(i + 1 + (i % 3)) % 4]] as string[]
        const appends = [...new Set(mine)].map((stream) => ({
          ...{ stream, expected: 'any' as const },
          events: [{ ...counted(i), schemaVersion: 1, data: '{"n":1}', metadata: '{}' }],
        }))
        await appendAll(db.pool, appends, false).catch((error: unknown) =>
          failures.push((error as { code: string }).code),
        )
      }),
    )
  }
  expect(failures).toEqual([])
})

describe('a new epoch', () => {
  test('begins once, however many come first', async () => {
    await db.query(`update eventing.store set place = 'before the restore'`)
    const done = Array.from({ length: 20 }, (_, i) =>
      outcome(inTransaction(db.pool, (tx) => store.appendIn(tx, `first-${i}`, [counted(1)], { expectedVersion: 0 }))),
    )
    expect(await Promise.all(done)).toEqual(Array.from({ length: 20 }, () => 1))
    expect(await db.query(`select epoch from eventing.store`)).toEqual([{ epoch: 2 }])
  })

  test('that begins while somebody reads: nothing of the old one is passed over', async () => {
    // an event of the cluster before, whose numbers were higher
    await store.append('old', [counted(1)], { expectedVersion: 0 })
    await db.query(`update eventing.event_store set tx = '900000000' where aggregate_id = 'old'`)
    const [last] = await db.query<{ epoch: number; tx: string; seq: string }>(
      `select epoch, tx::text, seq::text from eventing.event_store where aggregate_id <> 'old'
       order by epoch desc, event_store.tx desc, event_store.seq desc limit 1`,
    )
    const after = { epoch: last?.epoch ?? 0, tx: BigInt(last?.tx ?? 0), seq: BigInt(last?.seq ?? 0) }
    let queries = 0
    const client = {
      async query(text: string, values?: unknown[]) {
        const result = await db.pool.query(text, values)
        if (queries++ === 0) {
          await db.query(`update eventing.store set place = 'elsewhere'`)
          await store.append('new', [counted(2)], { expectedVersion: 0 })
        }
        return result
      },
    }
    const seen = (await readAfter(client, after, 10)).map((row) => row.aggregate_id)
    expect(seen.filter((stream) => stream === 'old' || stream === 'new')[0]).not.toBe('new')
    expect((await readAfter(db.pool, START, 10_000)).map((row) => row.aggregate_id).slice(-2)).toEqual(['old', 'new'])
  })
})

describe('a chained stream', () => {
  test('stays one when a program appends that does not ask for it', async () => {
    const chaining = new EventStore(db.pool, { events, chained: true })
    await chaining.append('chained', [counted(1)], { expectedVersion: 0 })
    await store.append('chained', [counted(2), counted(3)], { expectedVersion: 1 })
    await chaining.append('chained', [counted(4)], { expectedVersion: 3 })
    const { signal } = new AbortController()
    expect(await verifyEvents(db.pool, { stream: 'chained', signal })).toMatchObject({
      events: 4,
      chained: 1,
      defects: [],
    })
    const unhashed = await db.query(
      `select version from eventing.event_store where aggregate_id = 'chained' and hash is null`,
    )
    expect(unhashed).toEqual([])
  })

  test('that is long is not read from its beginning by each append', async () => {
    const chaining = new EventStore(db.pool, { events, chained: true })
    for (let i = 0; i < 10; i++)
      await chaining.append(
        'long',
        Array.from({ length: 500 }, (_, n) => counted(n)),
        { expectedVersion: i * 500 },
      )
    await inTransaction(db.pool, async (tx) => {
      const fetched = async (): Promise<number> => {
        const { rows } = await tx.query(
          `select sum(pg_stat_get_xact_tuples_fetched(indexrelid) + pg_stat_get_xact_tuples_returned('eventing.event_store'::regclass))::int as n
           from pg_index where indrelid = 'eventing.event_store'::regclass`,
        )
        return (rows[0] as { n: number }).n
      }
      const before = await fetched()
      await chaining.appendIn(tx, 'long', [counted(1)], { expectedVersion: 5_000 })
      expect((await fetched()) - before).toBeLessThan(100)
    })
  })
})

test('verify goes through more streams than one statement takes, with what has no stream among them', async () => {
  const names = Array.from({ length: 1_100 }, (_, i) => `v${String(i).padStart(4, '0')}`)
  await Promise.all(names.map((stream) => store.append(stream, [counted(1)], { expectedVersion: 0 })))
  const { signal } = new AbortController()
  const [count] = await db.query<{ n: number }>(`select count(*)::int as n from eventing.stream`)
  const before = await verifyEvents(db.pool, { signal })
  expect([before.streams, before.defects]).toEqual([count?.n, []])
  await db.query(`delete from eventing.stream where aggregate_id in ('v0700', 'v1099')`)
  await db.query(`delete from eventing.event_store where aggregate_id = 'v0001'`)
  const { streams, defects } = await verifyEvents(db.pool, { signal })
  expect(streams).toBe(before.streams)
  expect(defects).toEqual([
    { stream: 'v0001', version: 1, problem: 'missing' },
    { stream: 'v0700', version: 1, problem: 'extra' },
    { stream: 'v1099', version: 1, problem: 'extra' },
  ])
})

function expired(milliseconds: number): Promise<null> {
  return new Promise((resolve) => void setTimeout(resolve, milliseconds, null).unref())
}

/** Waits until so many statements wait for a lock. */
async function blocked(count: number): Promise<void> {
  for (let waiting = 0; waiting < count; ) {
    const [row] = await db.query<{ n: number }>(`select count(*)::int as n from pg_locks where not granted`)
    waiting = row?.n ?? 0
  }
}
