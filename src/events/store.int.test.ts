import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { diedAt, startProgram } from '../../test/support/crash.ts'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { event, EventStore, handleCommand, type Decider, type EventOf, inTransaction } from '../index.ts'
import type { ExpectedVersion } from './append.ts'

const events = {
  Counted: event<{ n: number }>(),
  Named: event({ schema: z.object({ name: z.string().min(1) }) }),
}
type Event = EventOf<typeof events>

let db: Eventing
let store: EventStore<typeof events>
beforeAll(async () => {
  db = await startEventing({ name: 'events' })
  store = new EventStore(db.pool, { events })
})
afterAll(() => db[Symbol.asyncDispose]())

const counted = (n: number): Event => ({ type: 'Counted', data: { n } })
const code = (error: unknown): string => (error as { code: string }).code
const numbers = async (stream: string): Promise<number[]> =>
  (await store.read(stream)).map(({ data }) => (data as { n: number }).n)

describe('expected versions', () => {
  const MODES: readonly (readonly [ExpectedVersion, 'absent' | 'present', boolean])[] = [
    ['no-stream', 'absent', true],
    ['no-stream', 'present', false],
    ['exists', 'absent', false],
    ['exists', 'present', true],
    ['any', 'absent', true],
    ['any', 'present', true],
    [0, 'absent', true],
    [0, 'present', false],
    [2, 'present', true],
    [1, 'present', false],
    [3, 'present', false],
    [2, 'absent', false],
  ]
  test.each(MODES)('%s on a stream that is %s: %s', async (expectedVersion, state, fits) => {
    const stream = `mode-${expectedVersion}-${state}`
    if (state === 'present') await store.append(stream, [counted(1), counted(2)], { expectedVersion: 'no-stream' })
    const before = state === 'present' ? 2 : 0
    const outcome = await store
      .append(stream, [counted(3), counted(4)], { expectedVersion })
      .then(({ version }) => version, code)
    expect(outcome).toBe(fits ? before + 2 : 'STREAM_CONFLICT')
    expect(await numbers(stream)).toEqual([1, 2, 3, 4].slice(2 - before, fits ? 4 : 2))
    // a refused append leaves no stream behind
    const rows = await db.query(`select version::int from eventing.stream where aggregate_id = $1`, [stream])
    expect(rows).toEqual(before + (fits ? 2 : 0) === 0 ? [] : [{ version: before + (fits ? 2 : 0) }])
    const nothing = await store.append(stream, [], { expectedVersion: 9 }).then(() => 'appended', code)
    expect(nothing).toBe('STREAM_CONFLICT')
  })
})

describe('an append whose answer was lost', () => {
  test.each(['no-stream', 'exists', 'any', 2] as const)(
    'expecting %s: repeated with the same ids, one event',
    async (expectedVersion) => {
      const stream = `retry-${expectedVersion}`
      const before = expectedVersion === 'exists' || expectedVersion === 2 ? 2 : 0
      if (before > 0) await store.append(stream, [counted(1), counted(2)], { expectedVersion: 'no-stream' })
      const again = [counted(7), counted(8)].map((each) => ({ ...each, id: randomUUID() }))
      // the connection is cut when the append is committed and its answer is not here yet
      const cut = openCutting()
      const lossy = new EventStore(cut.pool, { events })
      expect(await lossy.append(stream, again, { expectedVersion })).toEqual({ version: before + 2, repeated: true })
      expect(cut.cuts()).toBe(1)
      // and once more by the caller, after others
      await store.append(stream, [counted(9)], { expectedVersion: 'any' })
      expect(await store.append(stream, again, { expectedVersion })).toEqual({ version: before + 2, repeated: true })
      expect(await numbers(stream)).toEqual([1, 2].slice(0, before).concat([7, 8, 9]))
      const partly = [...again.slice(1), { ...counted(10), id: randomUUID() }]
      await expect(store.append(stream, partly, { expectedVersion })).rejects.toMatchObject({ code: 'EVENTS_OVERLAP' })
    },
  )

  /** A pool whose first answer of an append is lost with its connection. */
  function openCutting() {
    let cuts = 0
    const { pool } = db
    const query = async (text: string, values?: unknown[]) => {
      const result = await pool.query(text, values)
      if (text.includes('eventing.append') && cuts++ === 0)
        throw Object.assign(new Error('Connection terminated'), { code: 'ECONNRESET' })
      return result
    }
    return { pool: { query, connect: () => pool.connect() }, cuts: () => cuts - 1 }
  }
})

test('50 writers on one stream: versions without a gap, every loser has a typed conflict', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, async (_, writer) => {
      // writers of other processes have stores of their own
      const own = writer % 5 === 0 ? store : new EventStore(db.pool, { events })
      let conflicts = 0
      for (let done = 0; done < 4; ) {
        const seen = (await own.read('contended', { limit: 10_000 })).length
        const won = await own.append('contended', [counted(writer)], { expectedVersion: seen }).then(
          () => true,
          (error: unknown) => (expect(code(error)).toBe('STREAM_CONFLICT'), false),
        )
        if (won) done += 1
        else conflicts += 1
      }
      return conflicts
    }),
  )
  const all = await store.read('contended', { limit: 10_000 })
  expect(all.map(({ version }) => version)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1))
  expect(Math.max(...outcomes)).toBeGreaterThan(0)
})

test('appends of many streams share statements, and one that cannot be stored does not hurt the others', async () => {
  const before = await db.query<{ n: string }>(`select count(distinct tx) as n from eventing.event_store`)
  const outcomes = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      store
        .append(`many-${i}`, [i === 50 ? { type: 'Named', data: { name: 'a\u0000b' } } : counted(i)], {
          expectedVersion: 'any',
        })
        .then(({ version }) => version, code),
    ),
  )
  expect(outcomes.filter((outcome) => outcome === 1)).toHaveLength(99)
  expect(outcomes[50]).toBe('EVENT_INVALID')
  const after = await db.query<{ n: string }>(`select count(distinct tx) as n from eventing.event_store`)
  expect(Number(after[0]?.n) - Number(before[0]?.n)).toBeLessThan(100)
})

test('in the transaction of the caller: with its other writes, or not at all', async () => {
  await db.query(`create table effects (n int)`)
  await inTransaction(db.pool, async (tx) => {
    await tx.query(`insert into effects values (1)`)
    await store.appendIn(tx, 'own', [counted(1)], { expectedVersion: 'no-stream' })
    expect((await store.readIn(tx, 'own')).map(({ data }) => data)).toEqual([{ n: 1 }])
    expect(await store.read('own')).toEqual([])
  })
  const failing = inTransaction(db.pool, async (tx) => {
    await tx.query(`insert into effects values (2)`)
    await store.appendIn(tx, 'own', [counted(2)], { expectedVersion: 'no-stream' })
  })
  await expect(failing).rejects.toMatchObject({ code: 'STREAM_CONFLICT' })
  expect(await db.query(`select n from effects`)).toEqual([{ n: 1 }])
})

test('what cannot be an event is refused before anything is contacted', async () => {
  const refuse = (append: Promise<unknown>) => append.then(() => 'appended', code)
  expect(await refuse(store.append('x', [{ type: 'Named', data: { name: '' } }], { expectedVersion: 'any' }))).toBe(
    'EVENT_INVALID',
  )
  expect(await refuse(store.append('x', [{ type: 'Nothing', data: {} } as never], { expectedVersion: 'any' }))).toBe(
    'EVENT_UNKNOWN',
  )
  expect(await refuse(store.append('', [counted(1)], { expectedVersion: 'any' }))).toBe('EVENT_INVALID')
  expect(await refuse(store.append('x', [counted(1)], { expectedVersion: -1 }))).toBe('EVENT_INVALID')
  // @ts-expect-error the payload of another type of event
  await refuse(store.append('y', [{ type: 'Counted', data: { name: 'x' } }], { expectedVersion: 'any' }))
})

test('every historical version of a payload comes out as the present one', async () => {
  const first = new EventStore(db.pool, { events: { Priced: event<{ price: number }>() } })
  const second = new EventStore(db.pool, {
    events: {
      Priced: event<{ cents: number }>({
        schemaVersion: 2,
        upcasters: { 1: ({ price }: { price: number }) => ({ cents: price * 100 }) },
      }),
    },
  })
  const third = new EventStore(db.pool, {
    events: {
      Priced: event<{ cents: number; currency: string }>({
        schemaVersion: 3,
        upcasters: {
          1: ({ price }: { price: number }) => ({ cents: price * 100 }),
          2: (data: { cents: number }) => ({ ...data, currency: 'EUR' }),
        },
      }),
    },
  })
  await first.append('priced', [{ type: 'Priced', data: { price: 3 } }], { expectedVersion: 0 })
  await second.append('priced', [{ type: 'Priced', data: { cents: 450 } }], { expectedVersion: 1 })
  await third.append('priced', [{ type: 'Priced', data: { cents: 5, currency: 'CHF' } }], { expectedVersion: 2 })
  expect((await third.read('priced')).map(({ data }) => data)).toEqual([
    { cents: 300, currency: 'EUR' },
    { cents: 450, currency: 'EUR' },
    { cents: 5, currency: 'CHF' },
  ])
  await expect(second.read('priced')).rejects.toMatchObject({ code: 'EVENT_NEWER' })
  await expect(store.read('priced')).rejects.toMatchObject({ code: 'EVENT_UNKNOWN' })
})

describe('a decider', () => {
  let evolved = 0
  const counter: Decider<number, { add: number }, Event> = {
    initialState: () => 0,
    decide: ({ add }, state) => (state + add > 1_000 ? [] : [counted(add)]),
    evolve(state, { type, data }) {
      evolved += 1
      return type === 'Counted' ? state + data.n : state
    },
    snapshotVersion: 2,
    snapshotEvery: 10,
  }

  test('20 at once on one stream: every command counts once', async () => {
    await Promise.all(
      Array.from({ length: 20 }, () =>
        handleCommand(store, counter, { stream: 'counter', command: { add: 5 }, tries: 40 }),
      ),
    )
    expect(await handleCommand(store, counter, { stream: 'counter', command: { add: 10_000 } })).toMatchObject({
      state: 100,
      version: 20,
      events: 0,
    })
  })

  test('reads from the snapshot on; one of another form is not used', async () => {
    await store.saveSnapshot('counter', { version: 20, schemaVersion: 2, state: 100 })
    evolved = 0
    expect((await handleCommand(store, counter, { stream: 'counter', command: { add: 1 } })).state).toBe(101)
    expect(evolved).toBe(1)
    evolved = 0
    const newer = { ...counter, snapshotVersion: 3 }
    expect((await handleCommand(store, newer, { stream: 'counter', command: { add: 1 } })).state).toBe(102)
    expect(evolved).toBe(22)
  })
})

test.each([
  ['events.before-commit', 0],
  ['events.after-commit', 1],
])('killed at %s: %i of its events are there, and the same append once more makes one', async (name, there) => {
  const stream = `killed-${there}`
  const id = randomUUID()
  const program = { name: 'append-event', args: [stream, id], env: { DATABASE_URL: db.url }, logs: db.server.folder }
  await using running = await startProgram(program, { name })
  await diedAt(running, name)
  expect(await db.query(`select event_id from eventing.event_store where aggregate_id = $1`, [stream])).toHaveLength(
    there,
  )
  await using again = await startProgram(program)
  expect(await again.exited).toEqual({ code: 0, signal: null })
  expect(await db.query(`select event_id from eventing.event_store where aggregate_id = $1`, [stream])).toEqual([
    { event_id: id },
  ])
})
