import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openPool } from '../../fixtures/servers/pool.ts'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { runSagas } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction, Sagas } from '../index.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import { Lease } from './lease.ts'
import { launchOf, launchSagas } from './start.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-workers' })
})
afterAll(() => db[Symbol.asyncDispose]())

/** The service's pool, with something between it and the runtime. */
const tapped = (before: (text: string) => Promise<void>): ConnectionPool => ({
  connect: () => db.pool.connect(),
  async query(text, values) {
    await before(text)
    return db.pool.query(text, values)
  },
})

/** Resolves when the database says so. */
async function until(question: string, values: unknown[] = []): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  for (;;) {
    signal.throwIfAborted()
    const [row] = await db.query<{ yes: boolean }>(`select (${question}) as yes`, values)
    if (row?.yes === true) return
  }
}

/** Statements that wait for the targets that somebody holds in an open transaction. */
const BLOCKED = `(select count(*) from pg_locks where locktype = 'advisory' and not granted)`

describe('a start that is under way when its worker ends', () => {
  it('leaves no saga that belongs to nobody', async () => {
    const saga = defineSaga<null>({ name: 'Orphan', version: 1, locks: () => ['orphan'] })
      .call('one', { compensate: null, execute: async () => 1 })
      .build()
    await new Sagas(db.pool, { sagas: [saga] }).start(saga, null, { id: randomUUID() })
    await db.query(`delete from eventing.saga_lock`)
    const lease = new Lease(db.pool, { host: 'here', ttl: 60_000, sagas: [saga] })
    const keeping = new AbortController()
    const kept = lease.keep(keeping.signal, () => undefined)
    await until(`exists (select from eventing.saga_worker where host = 'here')`)
    const id = randomUUID()
    const launch = await launchOf(saga, null, { id, traceparent: null, owner: lease.worker })
    let launched: Promise<unknown> = Promise.resolve()
    let ended: Promise<unknown> = Promise.resolve()
    await inTransaction(db.pool, async (tx) => {
      await tx.query(`select eventing.saga_hold(array['orphan'])`)
      launched = launchSagas(db.pool, [launch])
      await until(`${BLOCKED} = 1`)
      ended = lease.end()
      await until(
        `exists (select from pg_stat_activity where query like 'delete from eventing.saga_worker%' and wait_event_type = 'Lock')`,
      )
    })
    await Promise.all([launched, ended])
    keeping.abort()
    await kept
    // the process is gone, and never hears of what it has started
    await using running = runSagas(db, { sagas: [saga] })
    const { status } = await running.sagas.outcome(id, { signal: AbortSignal.timeout(15_000) })
    expect(status).toBe('DONE')
  })

  it('is heard before the worker is done', async () => {
    const calls: string[] = []
    const open = Promise.withResolvers<void>()
    const answered = Promise.withResolvers<void>()
    const saga = defineSaga<null>({ name: 'Ending', version: 1 })
      .call('one', { compensate: null, execute: async ({ sagaId }) => void calls.push(sagaId) })
      .build()
    const pool = tapped(async () => undefined)
    const late: ConnectionPool = {
      ...pool,
      async query(text, values) {
        const result = await pool.query(text, values)
        if (!text.includes('saga_start')) return result
        answered.resolve()
        await open.promise
        return result
      },
    }
    const running = runSagas({ pool: late as never }, { sagas: [saga] })
    await until(`exists (select from eventing.saga_worker)`)
    const started = running.sagas.start(saga, null)
    await answered.promise
    let done = false
    const stopped = running.stop().then(() => {
      done = true
    })
    // the worker could go: it has nothing under way that it knows of
    await Promise.race([stopped, until(`not exists (select from eventing.saga_worker)`), inTwoRounds()])
    const before = done
    open.resolve()
    const { id } = await started
    await stopped
    expect(before).toBe(false)
    await using other = runSagas(db, { sagas: [saga] })
    expect((await other.sagas.outcome(id)).status).toBe('DONE')
    expect(calls).toEqual([id])
  })
})

/** Long enough for a worker to end that has nothing to wait for. */
const inTwoRounds = (): Promise<void> =>
  inTransaction(db.pool, async (tx) => void (await tx.query(`select pg_sleep(1)`)))

describe('a worker that gives back what it does not know of', () => {
  it('keeps what is started at that moment', async () => {
    const calls: string[] = []
    const gate = Promise.withResolvers<void>()
    const saga = defineSaga<null>({ name: 'GivenBack', version: 1 })
      .call('one', {
        compensate: null,
        execute: async ({ sagaId }) => {
          calls.push(sagaId)
          await gate.promise
        },
      })
      .build()
    const looked = Promise.withResolvers<void>()
    const given = Promise.withResolvers<void>()
    let first = true
    let armed = false
    // its list is made, and a start comes before the statement has a connection
    const pool = tapped(async (text) => {
      if (!armed || !first || !text.includes('id <> all')) return
      first = false
      looked.resolve()
      await given.promise
    })
    await using running = runSagas({ pool: pool as never }, { sagas: [saga], ttl: 600 })
    await until(`exists (select from eventing.saga_worker)`)
    armed = true
    await looked.promise
    const started = await running.sagas.start(saga, null)
    await until(`exists (select from eventing.saga where id = $1 and owner is not null)`, [started.id])
    given.resolve()
    // a whole round later
    await running.sagas.start(saga, null)
    await inTwoRounds()
    gate.resolve()
    await started.outcome()
    expect(calls.filter((id) => id === started.id)).toHaveLength(1)
    expect(await db.query(`select epoch from eventing.saga where id = $1`, [started.id])).toEqual([{ epoch: '0' }])
  })
})

describe('a worker that is to end', () => {
  it('ends also when the database went away before it was told', async () => {
    let away = false
    const tried = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const called = Promise.withResolvers<void>()
    const pool = tapped(async (text) => {
      if (!away) return
      if (text.includes('saga_commit')) tried.resolve()
      throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
    })
    const saga = defineSaga<null>({ name: 'Away', version: 1 })
      .call('one', {
        compensate: null,
        execute: () => {
          called.resolve()
          return gate.promise
        },
      })
      .build()
    const running = runSagas({ pool: pool as never }, { sagas: [saga] })
    await running.sagas.start(saga, null)
    await called.promise
    away = true
    gate.resolve()
    await tried.promise
    const deadline = AbortSignal.timeout(20_000)
    const late = new Promise((resolve) => deadline.addEventListener('abort', () => resolve('late')))
    const end = await Promise.race([running.stop().then(() => 'ended'), late])
    away = false
    expect(end).toBe('ended')
  })
})

describe('transactions that stay open over a lock', () => {
  it('keep only those waiting who want that lock', { timeout: 30_000 }, async () => {
    const gates = new Map(['t1', 't2', 't3'].map((target) => [target, Promise.withResolvers<void>()]))
    const locking = defineSaga<string>({ name: 'Locking', version: 1, locks: (target) => [target] })
      .call('one', {
        compensate: null,
        execute: ({ input }) => gates.get(input)?.promise ?? Promise.reject(new Error('none')),
      })
      .build()
    const free = defineSaga<null>({ name: 'Free', version: 1 })
      .call('one', { compensate: null, execute: async () => 1 })
      .build()
    await using running = runSagas(db, { sagas: [locking, free] })
    for (const target of gates.keys()) await running.sagas.start(locking, target)
    const clients = openPool(db.url, 3)
    const open = await Promise.all(
      [...gates.keys()].map(async (target) => {
        const client = await clients.connect()
        // as startIn does it, in a transaction of the service that goes on for a while
        await client.query('begin')
        await client.query(`select eventing.saga_hold(array[$1])`, [target])
        return client
      }),
    )
    try {
      for (const [i, gate] of [...gates.values()].entries()) {
        gate.resolve()
        await until(`${BLOCKED} = ${i + 1}`)
      }
      const other = await running.sagas.start(free, null)
      const { status } = await other.outcome({ signal: AbortSignal.timeout(5_000) })
      expect(status).toBe('DONE')
    } finally {
      for (const client of open) {
        await client.query('rollback')
        client.release()
      }
      await clients.end()
    }
  })
})
