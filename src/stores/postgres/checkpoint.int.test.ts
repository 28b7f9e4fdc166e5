import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Cdc,
  catchUp,
  endOfLog,
  openCdc,
  openTestSink,
  PIPELINE,
  publishTables,
  rowsOf,
  startPipeline,
} from '../../../test/support/cdc.ts'
import { int4, int8, insert, relationOf, text } from '../../../test/support/changes.ts'
import { rawTransaction } from '../../../test/support/raw.ts'
import { asLsn } from '../../model/lsn.ts'
import type { PipelineReport, SinkBatch, SinkResult } from '../../sync/ports.ts'
import { readCheckpoint } from './checkpoint.ts'
import { changePipeline, sealPipeline, takeTouched } from './pipeline-control.ts'

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'checkpoint' })
})
afterAll(() => cdc[Symbol.asyncDispose]())

async function makeTables(schema: string, tables: readonly string[]): Promise<void> {
  await cdc.both(`drop table if exists ${tables.join(', ')} cascade; ${schema}`)
  await publishTables(cdc, tables)
}

async function expectEqual(table: string): Promise<void> {
  expect(await rowsOf(cdc.target, table)).toEqual(await rowsOf(cdc.source, table))
}

describe('what a crash leaves', () => {
  test('a worker that dies between commit and acknowledgement: the next one neither repeats nor skips', async () => {
    await makeTables(`create table c (id int primary key, n int)`, ['c'])
    await cdc.source.query(`insert into c select i, 0 from generate_series(1, 5) i`)
    for (let round = 0; round < 6; round++) {
      await cdc.source.query(`update c set n = n + 1`)
      await cdc.source.query(`insert into c values (${100 + round}, 0)`)
      const dies = catchUp(cdc, ['c'], { failpoint: () => Promise.reject(new Error('died here')) })
      await expect(dies).rejects.toMatchObject({ message: expect.stringContaining('died here') })
    }
    await catchUp(cdc, ['c'])
    await expectEqual('c')
  })

  test('a write that fails is not acknowledged, and comes again', async () => {
    await makeTables(`create table c (id int primary key, n int)`, ['c'])
    await cdc.source.query(`insert into c values (1, 1)`)
    const failing = catchUp(cdc, ['c'], {
      sink: (sink) =>
        Object.assign(Object.create(sink) as typeof sink, {
          write: () => Promise.reject(new Error('full')),
          checkpoint: () => sink.checkpoint(),
          onChange: () => undefined,
        }),
    })
    await expect(failing).rejects.toThrow('full')
    await catchUp(cdc, ['c'])
    await expectEqual('c')
  })
})

describe('the checkpoint is compared and set', () => {
  const users = relationOf(1, 'cas', ['id:int8*', 'name:text', 'points:int4'])
  const batch = (from: SinkBatch['from'], id: number, more: Partial<SinkBatch> = {}): SinkBatch => ({
    from,
    to: asLsn(from.commitLsn + BigInt(id)),
    work: {
      kind: 'exact',
      revoke: [],
      transactions: [rawTransaction(1, [insert(users, [int8(id), text('x'), int4(1)])])],
    },
    touched: [],
    part: 'whole',
    durable: true,
    token: null,
    start: null,
    ...more,
  })
  const ready = async () => {
    await makeTables(`create table cas (id bigint primary key, name text, points int)`, ['cas'])
    return openTestSink(cdc, ['cas'])
  }

  test('a worker of an older epoch writes nothing', async () => {
    const { sink: first, claim: old } = await ready()
    const { sink: second, claim } = await openTestSink(cdc, ['cas'])
    // the claim has ended the older session; a new one of it, as after a reconnect, is refused by its epoch
    await expect(first.write(batch(old, 1))).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    expect(await second.write(batch(old, 1))).toEqual({ kind: 'changed' })
    expect(await rowsOf(cdc.target, 'cas')).toEqual([])
    expect(await second.write(batch(claim, 2))).toMatchObject({ kind: 'written', rows: 1 })
    // and nobody writes twice from the same position
    expect(await second.write(batch(claim, 3))).toEqual({ kind: 'changed' })
    expect(await rowsOf(cdc.target, 'cas')).toEqual(['(2,x,1)'])
    await Promise.all([first, second].map((sink) => sink[Symbol.asyncDispose]()))
  })

  test.each([
    ['hold', { hold: true }],
    ['grace', { graceMs: 5 }],
    ['tracking', { tracking: 7 }],
    ['state', { state: 'discard' }],
  ] as const)('a run has changed %s: nothing is written, the listener is told', async (_, change) => {
    const { sink, claim } = await ready()
    const told = new Promise<void>((resolve) => sink.onChange(resolve))
    await sink.write(batch(claim, 1))
    const now = { ...claim, commitLsn: asLsn(claim.commitLsn + 1n) }
    await changeUntil(told, change)
    expect(await sink.write(batch(now, 2))).toEqual({ kind: 'changed' })
    expect(await rowsOf(cdc.target, 'cas')).toEqual(['(1,x,1)'])
    expect(await sink.write(batch({ ...now, ...change }, 2))).toMatchObject({ kind: 'written' })
    await sink[Symbol.asyncDispose]()
  })

  /** LISTEN may come after the first change. */
  async function changeUntil(told: Promise<void>, change: Parameters<typeof changePipeline>[3]): Promise<void> {
    let waiting = true
    void told.then(() => (waiting = false))
    while (waiting) expect(await changePipeline(cdc.targetDb, PIPELINE, 1, change)).toBe(true)
  }

  test('an older run changes nothing', async () => {
    const { sink } = await ready()
    expect(await changePipeline(cdc.targetDb, PIPELINE, 5, { hold: true })).toBe(true)
    expect(await changePipeline(cdc.targetDb, PIPELINE, 4, { hold: false })).toBe(false)
    expect(await sealPipeline(cdc.targetDb, PIPELINE, 4, { service: 'users', direction: 'reverse', epoch: 2 })).toBe(
      false,
    )
    expect(await readCheckpoint(cdc.targetDb, PIPELINE)).toMatchObject({ hold: true, state: 'apply' })
    await sink[Symbol.asyncDispose]()
  })

  test('a sealed pipeline writes nothing, and its worker ends by itself', async () => {
    await makeTables(`create table cas (id bigint primary key, name text, points int)`, ['cas'])
    const { ended } = await startPipeline(cdc, ['cas'])
    await sealPipeline(cdc.targetDb, PIPELINE, 1, { service: 'users', direction: 'reverse', epoch: 2 })
    await cdc.source.query(`insert into cas values (1, 'x', 1)`)
    expect(await ended).toBe('sealed')
    expect(await rowsOf(cdc.target, 'cas')).toEqual([])
  })

  test('a newer worker ends the older one', async () => {
    await makeTables(`create table cas (id bigint primary key, name text, points int)`, ['cas'])
    const first = await startPipeline(cdc, ['cas'])
    await catchUp(cdc, ['cas'])
    // whichever it meets first: its session that was ended, or the epoch
    await expect(first.ended).rejects.toMatchObject({ code: expect.stringMatching(/TAKEN_OVER|DATABASE_UNREACHABLE/) })
  })

  test('a row that somebody keeps locked is a reason to try again, not to end', async () => {
    await makeTables(`create table cas (id bigint primary key, name text, points int)`, ['cas'])
    const { sink, claim } = await openTestSink(cdc, ['cas'], { statementTimeout: 100 })
    const other = await cdc.client(cdc.targetUrl)
    await other.query(`begin; insert into cas values (1)`)
    await expect(sink.write(batch(claim, 1))).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE', retry: 'timed' })
    await other.query('rollback')
    expect(await sink.write(batch(claim, 1))).toMatchObject({ kind: 'written' })
    await sink[Symbol.asyncDispose]()
  })

  test('the keys of changes are noted while a run tracks them', async () => {
    const { sink, claim } = await ready()
    await changePipeline(cdc.targetDb, PIPELINE, 3, { tracking: 3 })
    const touched = [{ relation: users, key: [int8(7)] }]
    const result: SinkResult = await sink.write(
      batch({ ...claim, tracking: 3 }, 1, { touched, work: { kind: 'none' } }),
    )
    expect(result).toMatchObject({ kind: 'written' })
    expect(await takeTouched(cdc.targetDb, PIPELINE, 3)).toEqual([{ table: 'public.cas', key: [int8(7)] }])
    expect(await takeTouched(cdc.targetDb, PIPELINE, 3)).toEqual([])
    await sink[Symbol.asyncDispose]()
  })
})

test('what an apply of ours writes is marked, and dropped by a stream of the same service only', async () => {
  await makeTables(`create table mark (id int primary key)`, ['mark'])
  await cdc.source.query(
    `begin; select pg_logical_emit_message(true, 'migrate.apply', 'users reverse 3'); insert into mark values (1); commit`,
  )
  await cdc.source.query(
    `begin; insert into mark values (2); select pg_logical_emit_message(true, 'migrate.apply', 'orders reverse 3'); commit`,
  )
  await catchUp(cdc, ['mark'])
  expect(await rowsOf(cdc.target, 'mark')).toEqual(['(2)'])

  // and our own sink marks what it writes
  await cdc.target.query(`select pg_create_logical_replication_slot('marks', 'test_decoding')`)
  await cdc.source.query(`insert into mark values (3)`)
  await catchUp(cdc, ['mark'])
  const { rows } = await cdc.target.query(`select data from pg_logical_slot_get_changes('marks', null, null)`)
  await cdc.target.query(`select pg_drop_replication_slot('marks')`)
  const lines = rows.map(({ data }) => data as string).filter((line) => !line.startsWith('table migrate.'))
  const at = lines.findIndex((line) => line.includes('table public.mark'))
  const begin = lines.slice(0, at).findLastIndex((line) => line.startsWith('BEGIN'))
  expect(lines.slice(begin, at).join()).toMatch(/prefix: migrate\.apply.*content:users forward \d+/)
})

test('idle progress is told, and made durable at the end', async () => {
  await makeTables(`create table idle (id int primary key)`, ['idle'])
  const until = await endOfLog(cdc.source)
  const reports: PipelineReport[] = []
  await catchUp(cdc, ['idle'], { until, report: (report) => reports.push(report) })
  expect(reports.at(-1)).toMatchObject({ phase: 'stopped', state: 'apply', hold: false })
  expect(reports.at(-1)?.applied).toBeGreaterThanOrEqual(until)
  expect((await readCheckpoint(cdc.targetDb, PIPELINE))?.commitLsn).toBeGreaterThanOrEqual(until)
})
