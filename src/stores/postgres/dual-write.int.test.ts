import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Cdc,
  catchUp,
  endOfLog,
  type Legs,
  openCdc,
  PIPELINE,
  publishTables,
  rowsOf,
  startPipeline,
} from '../../../test/support/cdc.ts'
import { idempotent } from '../../dualwrite/idempotent.ts'
import { uuidv7 } from '../../dualwrite/key.ts'
import type { PipelineReport } from '../../sync/ports.ts'
import { changePipeline } from './pipeline-control.ts'
import { enrolServiceGate, setServiceGate } from './service-gate.ts'

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'dual' })
  await enrolServiceGate(cdc.targetDb, 'users')
  await setServiceGate(cdc.targetDb, 'users', 1, 7, 'legs')
})
afterAll(() => cdc[Symbol.asyncDispose]())
beforeEach(async () => {
  await cdc.both(`drop table if exists u; create table u (id bigint generated always as identity primary key, email text unique,
    points int, bio text, n numeric, doc jsonb); alter table u alter bio set storage external`)
  await cdc.both(
    `insert into u (email, points, bio, n, doc) select 'e' || i, 0, repeat('b', 9000), 1.0, '{"n": 1.0}' from generate_series(1, 6) i`,
  )
  await publishTables(cdc, ['u'])
  await hold()
})

const hold = (graceMs = 0): Promise<boolean> => changePipeline(cdc.targetDb, PIPELINE, 1, { hold: true, graceMs })

async function expectEqual(): Promise<void> {
  expect(await rowsOf(cdc.target, 'u')).toEqual(await rowsOf(cdc.source, 'u'))
}

/** What a second leg does to the service's rows. */
const leg = (sql: string): Promise<unknown> => cdc.target.query(sql)

describe('rows that second legs have written already', () => {
  test('are compared, and put right where they differ', async () => {
    await cdc.source.query(`update u set points = 5, bio = 'x' where id in (1, 2)`)
    await cdc.source.query(`update u set points = 5 where id in (3, 4)`)
    await cdc.source.query(`delete from u where id in (5, 6)`)
    await leg(
      `update u set points = 5, bio = 'x' where id = 1; update u set points = 5 where id = 3; delete from u where id = 5`,
    )
    const { verified, repaired, rows } = await catchUp(cdc, ['u'])
    expect({ verified, repaired, rows }).toEqual({ verified: 3, repaired: 3, rows: 6 })
    await expectEqual()
  })

  test('may look equal and be another value', async () => {
    await cdc.source.query(`update u set points = 1, n = 1.00, doc = '{"n": 1.00}', bio = 'x' where id = 1`)
    await leg(`update u set points = 1, n = 1.0, doc = '{"n": 1.0}', bio = 'x' where id = 1`)
    expect(await catchUp(cdc, ['u'])).toMatchObject({ repaired: 1 })
    await expectEqual()
  })

  test('are compared without the TOAST value that was not sent', async () => {
    await leg(`update u set bio = 'of the service' where id = 1`)
    await cdc.source.query(`update u set points = 1 where id = 1`)
    expect(await catchUp(cdc, ['u'])).toMatchObject({ repaired: 1 })
    const { rows } = await cdc.target.query(`select points, bio from u where id = 1`)
    expect(rows).toEqual([{ points: 1, bio: 'of the service' }])
  })

  test('get the last of several changes once, and no verdict', async () => {
    await hold(3_600_000)
    for (let points = 1; points <= 5; points++)
      await cdc.source.query(`update u set points = ${points}, bio = 'x' where id = 1`)
    const until = await endOfLog(cdc.source)
    const reports: PipelineReport[] = []
    const { ended, counters } = await startPipeline(cdc, ['u'], { until, report: (report) => reports.push(report) })
    while ((reports.at(-1)?.source ?? 0n) < until) await nextReport(reports)
    await hold(0)
    await ended
    expect(counters).toMatchObject({ rows: 1, verified: 0, repaired: 0 })
    await expectEqual()
  })
})

describe('changes that are more than one row', () => {
  test('a key that changes, with and without the TOAST value', async () => {
    await cdc.source.query(`update u set id = default, points = 9 where id = 1`)
    await cdc.source.query(`update u set id = default, bio = 'x' where id = 2`)
    await leg(`update u set points = 3 where id = 1`)
    await catchUp(cdc, ['u'])
    await expectEqual()
  })

  test('a key that changes, when the leg has done it', async () => {
    await cdc.source.query(`update u set id = default where id = 1`)
    await leg(`update u set id = default where id = 1`)
    await catchUp(cdc, ['u'])
    await expectEqual()
  })

  test('TRUNCATE, with rows of legs before and after it', async () => {
    await cdc.source.query(`insert into u (id, email) overriding system value values (50, 'x')`)
    await cdc.source.query(`truncate u`)
    await cdc.source.query(`insert into u (id, email) overriding system value values (51, 'x'), (52, 'y')`)
    await leg(`insert into u (id, email) overriding system value values (52, 'y'), (50, 'x')`)
    await catchUp(cdc, ['u'])
    await expectEqual()
  })

  test('unique values that change hands inside a batch', async () => {
    await cdc.source.query(`update u set points = 1 where id = 2`)
    await cdc.source.query(
      `begin; update u set email = 'tmp' where id = 1; update u set email = 'e1' where id = 2; update u set email = 'e2' where id = 1; commit`,
    )
    await cdc.source.query(`update u set email = 'free', bio = 'x' where id = 3; insert into u (email) values ('e3')`)
    await catchUp(cdc, ['u'])
    await expectEqual()
  })

  test('a unique value that a leg has given to a row whose change comes later: the monolith wins', async () => {
    // the legs of both have run; of the monolith's changes only the first has come
    await cdc.source.query(`update u set email = 'wanted', bio = 'x' where id = 1`)
    await leg(`update u set email = 'wanted' where id = 2`)
    await catchUp(cdc, ['u'])
    const first = await cdc.target.query(`select id::int from u where email = 'wanted'`)
    expect(first.rows).toEqual([{ id: 1 }])
    await cdc.source.query(
      `update u set email = 'other', bio = 'y' where id = 1; update u set email = 'wanted', bio = 'z' where id = 2`,
    )
    await catchUp(cdc, ['u'])
    await expectEqual()
  })

  test('an update of a row that a later leg has deleted, without its TOAST value', async () => {
    const reports: PipelineReport[] = []
    const stop = new AbortController()
    await leg(`delete from u where id = 1`)
    const { ended, counters } = await startPipeline(cdc, ['u'], {
      signal: stop.signal,
      report: (report) => reports.push(report),
    })
    await cdc.source.query(`update u set points = 1 where id = 1`)
    const at = await endOfLog(cdc.source)
    while (counters.transactions === 0 || (reports.at(-1)?.source ?? 0n) < at) await nextReport(reports)
    // nobody may read this row here yet
    expect(reports.at(-1)?.applied).toBeLessThan(at)
    await cdc.source.query(`delete from u where id = 1`)
    const after = await endOfLog(cdc.source)
    while ((reports.at(-1)?.applied ?? 0n) < after) await nextReport(reports)
    stop.abort()
    expect(await ended).toBe('aborted')
    await expectEqual()
  })
})

async function nextReport(reports: readonly unknown[]): Promise<void> {
  const { length } = reports
  while (reports.length === length) await new Promise((resolve) => setImmediate(resolve))
}

describe('the hold', () => {
  test('keeps changes back for the grace; a shorter one lets them go', async () => {
    await hold(3_600_000)
    const reports: PipelineReport[] = []
    await cdc.source.query(`update u set points = 1, bio = 'x'`)
    const at = await endOfLog(cdc.source)
    const follow = await startPipeline(cdc, ['u'], { until: at, report: (report) => reports.push(report) })
    while ((reports.at(-1)?.source ?? 0n) < at) await nextReport(reports)
    expect(reports.at(-1)).toMatchObject({ hold: true })
    expect(reports.at(-1)?.applied).toBeLessThan(at)
    expect((await rowsOf(cdc.target, 'u'))[0]).toContain(',0,')
    await hold(0)
    expect(await follow.ended).toBe('reached')
    await expectEqual()
  })

  test('the end of the hold lets everything go, whatever legs have done', async () => {
    await hold(3_600_000)
    const reports: PipelineReport[] = []
    for (let points = 1; points <= 3; points++) await cdc.source.query(`update u set points = ${points}, bio = 'x'`)
    const until = await endOfLog(cdc.source)
    const { ended } = await startPipeline(cdc, ['u'], { until, report: (report) => reports.push(report) })
    while ((reports.at(-1)?.source ?? 0n) < until) await nextReport(reports)
    await changePipeline(cdc.targetDb, PIPELINE, 1, { hold: false })
    await ended
    await expectEqual()
  })
})

describe('second legs that are revoked', () => {
  const request = (key: string, epoch = 7) => ({
    service: 'users',
    headers: { 'x-migrate-mode': 'dual-write', 'idempotency-key': key, 'x-migrate-epoch': String(epoch) },
  })
  const addOne = (client: Awaited<ReturnType<Cdc['client']>>) => async () => {
    await client.query(`update u set points = points + 1 where id = 1`)
    return { status: 200, body: { ok: true } }
  }
  async function legs(...open: string[]): Promise<Legs> {
    // the order of the keys is the order in which they are locked
    return { open: open.sort(), revoked: [] }
  }

  test('one that comes after the change finds its key taken', async () => {
    const key = uuidv7(Date.now())
    const open = await legs(key)
    await cdc.source.query(`update u set points = points + 1 where id = 1`)
    expect(await catchUp(cdc, ['u'], { legs: open })).toMatchObject({ revoked: 1 })
    expect(open.revoked).toEqual([key])
    const client = await cdc.client(cdc.targetUrl)
    await client.query('begin')
    expect(await idempotent(client, request(key), addOne(client))).toMatchObject({
      status: 409,
      headers: { 'x-migrate-leg': 'revoked' },
    })
    await client.query('commit')
    await expectEqual()
  })

  test('one that sits in its transaction is ended, and comes too late', async () => {
    const key = uuidv7(Date.now())
    const client = await cdc.client(cdc.targetUrl)
    const lost = new Promise<Error>((resolve) => client.once('error', resolve))
    await client.query('begin')
    expect(await idempotent(client, request(key), addOne(client))).toMatchObject({ status: 200 })
    await cdc.source.query(`update u set points = points + 1 where id = 1`)
    await catchUp(cdc, ['u'], { legs: await legs(key) })
    await expectEqual()
    // ended by the sink, not by the timeout of its own
    expect(await lost).toMatchObject({ code: '57P01' })
    const again = await cdc.client(cdc.targetUrl)
    await again.query('begin')
    expect(await idempotent(again, request(key), addOne(again))).toMatchObject({
      headers: { 'x-migrate-leg': 'revoked' },
    })
    await again.query('rollback')
  })

  test('one that was answered in time is replayed, not repeated', async () => {
    const key = uuidv7(Date.now())
    const client = await cdc.client(cdc.targetUrl)
    for (const outcome of ['applied', 'replayed']) {
      await client.query('begin')
      expect(await idempotent(client, request(key), addOne(client))).toMatchObject({
        status: 200,
        headers: { 'x-migrate-leg': outcome },
      })
      await client.query('commit')
    }
    await cdc.source.query(`update u set points = points + 1 where id = 1`)
    await catchUp(cdc, ['u'], { legs: await legs(key) })
    await expectEqual()
  })

  test('one whose request changes no row is revoked too', async () => {
    const keys = [uuidv7(Date.now()), uuidv7(Date.now())]
    const open = await legs(...keys)
    const reports: PipelineReport[] = []
    const stop = new AbortController()
    const { ended, counters } = await startPipeline(cdc, ['u'], {
      legs: open,
      signal: stop.signal,
      report: (report) => reports.push(report),
    })
    while (counters.revoked < 2) await nextReport(reports)
    stop.abort()
    await ended
    expect(open).toEqual({ open: [], revoked: keys.toSorted() })
    const { rows } = await cdc.target.query(`select by from migrate.seen where key = any($1::uuid[])`, [keys])
    expect(rows).toEqual([{ by: 'sink' }, { by: 'sink' }])
  })
})
