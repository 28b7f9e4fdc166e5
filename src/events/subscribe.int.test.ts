import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../fixtures/load/random.ts'
import { diedAt, startProgram } from '../../test/support/crash.ts'
import { openPool } from '../../fixtures/servers/pool.ts'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import {
  event,
  EventStore,
  type Horizon,
  inTransaction,
  readHorizon,
  subscribe,
  type StoredEvent,
  type EventOf,
  type EventPosition,
} from '../index.ts'
import { lastSettled, readAfter } from './read.ts'

/** Seconds; `npm run soak -- events` takes 600. */
const SECONDS = Number(process.env['MIGRATE_EVENTS_SECONDS'] ?? 8)
const SEED = Number(process.env['MIGRATE_SEED'] ?? 6)

const events = { Counted: event<{ n: number }>() }
type Counted = StoredEvent<EventOf<typeof events>>

let db: Eventing
let store: EventStore<typeof events>
beforeAll(async () => {
  db = await startEventing({ name: 'subscribe', settings: { max_prepared_transactions: 5 } })
  store = new EventStore(db.pool, { events })
})
afterAll(() => db[Symbol.asyncDispose]())

const counted = (n: number) => ({ type: 'Counted' as const, data: { n } })

/** Runs a subscription until it has seen what `enough` waits for. */
async function follow(
  name: string,
  enough: (seen: readonly Counted[]) => boolean,
  more: { batch?: number } = {},
): Promise<Counted[]> {
  const seen: Counted[] = []
  const stop = new AbortController()
  await subscribe(store, {
    ...{ name, batch: 7, poll: 50, ...more },
    signal: stop.signal,
    handle: async (_, page) => void seen.push(...page),
    onCaughtUp: async () => void (enough(seen) && stop.abort()),
  })
  return seen
}

test('the transaction that began first appends last: the stream keeps its order', async () => {
  const [old, young] = [await db.pool.connect(), await db.pool.connect()]
  await old.query('begin')
  await old.query('select pg_current_xact_id()')
  await young.query('begin')
  await store.appendIn(young, 'late', [counted(1)], { expectedVersion: 'no-stream' })
  await young.query('commit')
  // nothing may be handed out while a transaction with a lower number is open
  expect((await readHorizon(db.pool)).waiting).toBe(1)
  await store.appendIn(old, 'late', [counted(2)], { expectedVersion: 1 })
  await old.query('commit')
  for (const client of [old, young]) client.release()
  const seen = await follow('late', (page) => page.length >= 2, { batch: 1 })
  expect(seen.map(({ version }) => version)).toEqual([1, 2])
})

test('who begins at the present misses nothing of a transaction that is still open', async () => {
  const open = await db.pool.connect()
  await open.query('begin')
  await store.appendIn(open, 'still open', [counted(1)], { expectedVersion: 'no-stream' })
  await store.append('quicker', [counted(1)], { expectedVersion: 'no-stream' })
  const from = await lastSettled(db.pool)
  await open.query('commit')
  open.release()
  expect((await readAfter(db.pool, from, 10)).map((row) => row.aggregate_id)).toEqual(['still open', 'quicker'])
})

test(`32 writers with rollbacks and delays before their commits, ${SECONDS} s: pages of 7 have every event once, in order`, {
  timeout: 3_600_000,
}, async () => {
  const until = performance.now() + SECONDS * 1_000
  const committed = new Map<string, number>()
  const writers = Array.from({ length: 32 }, async (_, i) => {
    const random = seededRandom(SEED * 100 + i)
    for (let n = 0; performance.now() < until; n++) {
      // 8 streams, so that writers wait for each other
      const stream = `s${Math.floor(random() * 8)}`
      const rolledBack = random() < 0.2
      const appended = await inTransaction(db.pool, async (tx) => {
        const { version } = await store.appendIn(tx, stream, [counted(i), counted(n)], { expectedVersion: 'any' })
        await tx.query(`select pg_sleep($1)`, [random() < 0.3 ? random() * 0.02 : 0])
        if (rolledBack) throw new Error('rolled back')
        return version
      }).catch(() => 0)
      committed.set(stream, Math.max(committed.get(stream) ?? 0, appended))
    }
  })
  const seen: Counted[] = []
  const stop = new AbortController()
  const following = subscribe(store, {
    ...{ name: 'soak', batch: 7, poll: 20, signal: stop.signal },
    handle: async (_, page) => void seen.push(...page.filter(({ stream }) => /^s\d$/.test(stream))),
    onCaughtUp: async () => void (performance.now() > until && all() && stop.abort()),
  })
  const all = (): boolean => seen.length >= [...committed.values()].reduce((sum, n) => sum + n, 0)
  await Promise.all(writers)
  await following
  for (const [stream, last] of committed) {
    const versions = seen.filter((each) => each.stream === stream).map(({ version }) => version)
    expect(versions).toEqual(Array.from({ length: last }, (_, i) => i + 1))
  }
  expect(seen.length).toBeGreaterThan(SECONDS * 50)
  console.log(`seed ${SEED}: ${seen.length} events`)
})

describe('the horizon', () => {
  test('held by an open transaction in another database: an alert with its pid, and one when it is over', async () => {
    await db.admin.query(`create database elsewhere`)
    const other = openPool(db.server.url('elsewhere', db.server.superuser.user, db.server.superuser.password), 1)
    const blocker = await other.connect()
    await blocker.query('begin')
    const { rows } = await blocker.query(`select pg_backend_pid() as pid, pg_current_xact_id()`)
    await store.append('held', [counted(1)], { expectedVersion: 'any' })
    const told: (Horizon | null)[] = []
    const stop = new AbortController()
    const { promise: alerted, resolve: alert } = Promise.withResolvers<void>()
    const following = subscribe(store, {
      ...{ name: 'held', poll: 50, horizonLimit: 0.3, signal: stop.signal },
      handle: async () => undefined,
      onHorizon(horizon) {
        told.push(horizon)
        if (horizon === null) stop.abort()
        alert()
      },
    })
    await alerted
    expect(told[0]).toMatchObject({ waiting: 1, blocker: { pid: rows[0].pid } })
    await blocker.query('rollback')
    await following
    expect(told).toEqual([expect.anything(), null])
    blocker.release()
    await other.end()
  })

  test('held by a prepared transaction: its name', async () => {
    await db.admin.query(`create table prepared_one (n int)`)
    const client = await db.admin.connect()
    await client.query(`begin; insert into prepared_one values (1); prepare transaction 'forgotten'`)
    client.release()
    await store.append('prepared', [counted(1)], { expectedVersion: 'any' })
    expect(await readHorizon(db.pool)).toMatchObject({ waiting: 1, blocker: { pid: null, gid: 'forgotten' } })
    await db.admin.query(`rollback prepared 'forgotten'`)
  })

  test('not held by an open transaction that only reads', async () => {
    const reader = await db.admin.connect()
    await reader.query('begin isolation level repeatable read; select 1')
    await store.append('read', [counted(1)], { expectedVersion: 'any' })
    expect((await readHorizon(db.pool)).waiting).toBe(0)
    await reader.query('rollback')
    reader.release()
  })
})

/** Appends so many; returns the position before them, since the soak has left hundreds of thousands. */
async function appendSome(name: string, total: number): Promise<EventPosition> {
  const from = await lastSettled(db.pool)
  for (let n = 0; n < total / 10; n++) {
    await store.append(
      `${name}-${n % 7}`,
      Array.from({ length: 10 }, (_, i) => counted(i)),
      { expectedVersion: 'any' },
    )
  }
  return from
}

test('two processes with one name: every event is handled once', async () => {
  await db.query(`create table handled (stream text, version bigint)`)
  const total = 600
  const from = await appendSome('shared', total)
  const stop = new AbortController()
  const one = () =>
    subscribe(store, {
      ...{ name: 'shared', from, batch: 3, poll: 20, signal: stop.signal },
      async handle(tx, page) {
        for (const { stream, version } of page) await tx.query(`insert into handled values ($1, $2)`, [stream, version])
      },
      async onCaughtUp() {
        const [row] = await db.query<{ n: number }>(
          `select count(*)::int as n from handled where stream like 'shared-%'`,
        )
        if ((row?.n ?? 0) >= total) stop.abort()
      },
    })
  await Promise.all([one(), one(), one()])
  expect(
    await db.query(
      `select count(*)::int as n, count(distinct (stream, version))::int as different from handled where stream like 'shared-%'`,
    ),
  ).toEqual([{ n: total, different: total }])
})

test('killed between the effects and the commit: the effects are there once', async () => {
  await db.query(`create table effect (stream text, version bigint)`)
  const total = 600
  const { epoch, tx, seq } = await appendSome('effect', total)
  const args = [String(epoch), String(tx), String(seq)]
  const program = { name: 'project-events', args, env: { DATABASE_URL: db.url }, logs: db.server.folder }
  await using running = await startProgram(program, { name: 'events.handled' })
  await diedAt(running, 'events.handled')
  expect(await db.query(`select * from effect`)).toEqual([])
  await using again = await startProgram(program)
  expect(await again.exited).toEqual({ code: 0, signal: null })
  expect(
    await db.query(
      `select count(*)::int as n, count(distinct (stream, version))::int as different from effect where stream like 'effect-%'`,
    ),
  ).toEqual([{ n: total, different: total }])
})

test('a handler that throws ends the subscription with its error, and the same events come again', async () => {
  const stop = new AbortController()
  const failing = subscribe(store, {
    ...{ name: 'failing', poll: 20, signal: stop.signal },
    handle: () => Promise.reject(new Error('of the handler')),
  })
  await expect(failing).rejects.toThrow('of the handler')
  expect(await db.query(`select events::int from eventing.checkpoint where name = 'failing'`)).toEqual([{ events: 0 }])
})

test('the database restarts in between: it goes on', async () => {
  const seen: Counted[] = []
  const stop = new AbortController()
  let retries = 0
  const following = subscribe(store, {
    ...{ name: 'restarted', poll: 50, signal: stop.signal, onRetry: () => (retries += 1) },
    handle: async (_, page) => void seen.push(...page),
    onCaughtUp: async () => void (seen.some(({ stream }) => stream === 'after restart') && stop.abort()),
  })
  await db.server.kill9()
  const appending = store.append('after restart', [counted(1)], { expectedVersion: 'no-stream' })
  await db.server.restart()
  await appending
  await following
  expect(seen.filter(({ stream }) => stream === 'after restart')).toHaveLength(1)
  expect(retries).toBeGreaterThan(0)
})
