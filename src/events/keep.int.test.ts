// What keeps events: projections and their rebuild, the hash chain, a dump that is restored elsewhere.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPool } from '../../fixtures/servers/pool.ts'
import { type Eventing, connected, startEventing } from '../../test/support/eventing.ts'
import { startPostgres } from '../../fixtures/servers/postgres.ts'
import { event, EventStore, type Projection, runProjection, subscribe, verifyEvents } from '../index.ts'

const events = { Counted: event<{ n: number }>() }
let db: Eventing
let store: EventStore<typeof events>
beforeAll(async () => {
  // Debian's, as its pg_dump is
  db = await startEventing({ name: 'keep', version: '15' })
  store = new EventStore(db.pool, { events, chained: true })
  for (let i = 0; i < 30; i++) {
    const numbers = Array.from({ length: 10 }, (_, n) => ({
      type: 'Counted' as const,
      data: { n },
      metadata: { by: `w${n}` },
    }))
    await store.append(`s${i % 3}`, numbers, { expectedVersion: 'any' })
  }
})
afterAll(() => db[Symbol.asyncDispose]())

const { signal } = new AbortController()

describe('a projection', () => {
  const totals: Projection<typeof events> = {
    name: 'totals',
    version: 1,
    create: async (tx, table) =>
      void (await tx.query(`create table ${table} (stream text primary key, total int not null)`)),
    async apply(tx, page, table) {
      for (const { stream, data } of page) {
        await tx.query(
          `insert into ${table} values ($1, $2) on conflict (stream) do update set total = ${table}.total + $2`,
          [stream, data.n],
        )
      }
    },
  }
  const counts: Projection<typeof events> = {
    name: 'totals',
    version: 2,
    create: async (tx, table) =>
      void (await tx.query(`create table ${table} (stream text primary key, events int not null)`)),
    async apply(tx, page, table) {
      for (const { stream } of page) {
        await tx.query(
          `insert into ${table} values ($1, 1) on conflict (stream) do update set events = ${table}.events + 1`,
          [stream],
        )
      }
    },
  }

  async function build(projection: Projection<typeof events>, batch = 50): Promise<void> {
    const stop = new AbortController()
    await runProjection(store, projection, { signal: stop.signal, batch, poll: 20, onLive: () => stop.abort() })
  }
  const shown = () => db.query(`select * from totals order by stream`)

  test('is built from all events, then shown; a new version beside it, and the old one never comes back', async () => {
    await build(totals)
    expect(await shown()).toEqual([0, 1, 2].map((i) => ({ stream: `s${i}`, total: 450 })))
    // while the new one is built readers have the old one
    const stop = new AbortController()
    let during: unknown[] = []
    await runProjection(
      store,
      {
        ...counts,
        apply: async (tx, page, table) => {
          if (during.length === 0) during = await shown()
          await counts.apply(tx, page, table)
        },
      },
      { signal: stop.signal, batch: 7, poll: 20, onLive: () => stop.abort() },
    )
    expect(during).toEqual([0, 1, 2].map((i) => ({ stream: `s${i}`, total: 450 })))
    expect(await shown()).toEqual([0, 1, 2].map((i) => ({ stream: `s${i}`, events: 100 })))
    await build(totals)
    expect(await shown()).toEqual([0, 1, 2].map((i) => ({ stream: `s${i}`, events: 100 })))
  })

  test('may be called by a word of SQL', async () => {
    await build({ ...totals, name: 'order' })
    await build({ ...totals, name: 'order', version: 2 })
    expect(await db.query(`select count(*)::int as n from "order"`)).toEqual([{ n: 3 }])
  })

  test.each([
    ['Totals', 1],
    ['a b', 1],
    ['totals', 0],
    ['totals; drop table x', 1],
    ['t'.repeat(51), 1],
  ])('%s version %i is refused', async (name, version) => {
    await expect(runProjection(store, { ...totals, name, version }, { signal })).rejects.toMatchObject({
      code: 'PROJECTION_NAME',
    })
  })
})

describe('verify', () => {
  const verify = async () => (await verifyEvents(db.admin, { signal })).defects
  const tampered = async (sql: string): Promise<unknown> => {
    const client = await db.admin.connect()
    try {
      await client.query(`begin; ${sql}`)
      return (await verifyEvents(client, { signal })).defects
    } finally {
      await client.query('rollback')
      client.release()
    }
  }

  test('finds nothing where nothing is wrong', async () => {
    expect(await verifyEvents(db.pool, { signal })).toEqual({ streams: 3, events: 300, chained: 3, defects: [] })
    expect(await verifyEvents(db.pool, { stream: 's1', signal })).toMatchObject({ streams: 1, events: 100 })
    expect(await verify()).toEqual([])
  })

  test.each([
    ['a payload', `event_data = '{"n": 77}'`],
    ['metadata', `metadata = '{}'`],
    ['a type', `event_type = 'Other'`],
    ['a time', `created_at = created_at + interval '1 microsecond'`],
    ['an id', `event_id = gen_random_uuid()`],
    ['a schema version', `schema_version = 2`],
    ['a hash', `hash = sha256('x')`],
  ])('finds %s that was edited', async (_, change) => {
    const defects = await tampered(
      `update eventing.event_store set ${change} where aggregate_id = 's1' and version = 40`,
    )
    expect(defects).toContainEqual({ stream: 's1', version: 40, problem: 'edited' })
  })

  test('finds the last event edited together with its hash', async () => {
    const defects =
      await tampered(`update eventing.event_store set event_data = '{"n": 1}' where aggregate_id = 's1' and version = 100;
      update eventing.event_store e set hash = eventing.event_hash((select hash from eventing.event_store where aggregate_id = 's1' and version = 99), e)
      where aggregate_id = 's1' and version = 100`)
    expect(defects).toEqual([{ stream: 's1', version: 100, problem: 'edited' }])
  })

  test.each([
    [
      'removed in the middle',
      `delete from eventing.event_store where aggregate_id = 's1' and version = 40`,
      { version: 41, problem: 'missing' },
    ],
    [
      'removed at the end',
      `delete from eventing.event_store where aggregate_id = 's1' and version = 100`,
      { version: 100, problem: 'missing' },
    ],
    [
      'removed with its stream',
      `delete from eventing.stream where aggregate_id = 's1'`,
      { version: 1, problem: 'extra' },
    ],
    [
      'put behind the end',
      `insert into eventing.event_store select (e).* from (select e from eventing.event_store e where aggregate_id = 's1' and version = 1) x on conflict do nothing;
      update eventing.event_store set version = 101 where aggregate_id = 's1' and version = 100`,
      { version: 101, problem: 'missing' },
    ],
    [
      'without its hash',
      `update eventing.event_store set hash = null where aggregate_id = 's1' and version = 100`,
      { version: 100, problem: 'unchained' },
    ],
  ])('finds an event %s', async (_, sql, found) => {
    expect(await tampered(sql)).toContainEqual({ stream: 's1', ...found })
  })
})

test('dumped and restored into a new cluster: subscribers go on with what comes after, in order', async () => {
  const seen: string[] = []
  const followUntil = async (of: EventStore<typeof events>, count: number): Promise<void> => {
    const stop = new AbortController()
    await subscribe(of, {
      ...{ name: 'moved', batch: 7, poll: 20, signal: stop.signal },
      handle: async (_, page) => void seen.push(...page.map(({ stream, version }) => `${stream}@${version}`)),
      onCaughtUp: async () => void (seen.length >= count && stop.abort()),
    })
  }
  // the old cluster has used up many transaction numbers, the new one none
  await db.admin.query(`do $$ begin for i in 1..2000 loop perform pg_current_xact_id(); commit; end loop; end $$`)
  await store.append('s0', [{ type: 'Counted', data: { n: 1 } }], { expectedVersion: 'any' })
  await followUntil(store, 301)
  // one that no subscriber has seen yet
  await store.append('s1', [{ type: 'Counted', data: { n: 2 } }], { expectedVersion: 'any' })
  const file = join(db.server.folder, 'service.dump')
  const { user, password } = db.server.superuser
  execFileSync('pg_dump', ['--format=custom', `--file=${file}`, db.server.url('service', user, password)])

  const server = await startPostgres({ name: 'restored', version: '15' })
  const admin = openPool(server.url('postgres', server.superuser.user, server.superuser.password), 1)
  await admin.query(`create role service login password 'service'`)
  await admin.query(`create database service owner service`)
  await admin.end()
  execFileSync('pg_restore', [
    `--dbname=${server.url('service', server.superuser.user, server.superuser.password)}`,
    file,
  ])
  const url = server.url('service', 'service', 'service')
  await using there = connected(server, url, openPool(url))
  const [numbers] = await there.query<{ now: string; then: string }>(
    `select pg_current_xact_id()::text as now, max(tx::text::bigint)::text as then from eventing.event_store`,
  )
  expect(Number(numbers?.now)).toBeLessThan(Number(numbers?.then))
  const restored = new EventStore(there.pool, { events, chained: true })
  await followUntil(restored, 302)
  await restored.append('s1', [{ type: 'Counted', data: { n: 3 } }], { expectedVersion: 101 })
  await restored.append('s0', [{ type: 'Counted', data: { n: 4 } }], { expectedVersion: 101 })
  await followUntil(restored, 304)
  expect(seen.slice(300)).toEqual(['s0@101', 's1@101', 's1@102', 's0@102'])
  expect(new Set(seen).size).toBe(304)
  expect((await verifyEvents(there.pool, { signal })).defects).toEqual([])
  expect(await there.query(`select epoch from eventing.store`)).toEqual([{ epoch: 2 }])
})
