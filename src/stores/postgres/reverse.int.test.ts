import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
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
import { int4, insert, relationOf, update } from '../../../test/support/changes.ts'
import { rawTransaction } from '../../../test/support/raw.ts'
import { installSchema } from '../../control/install.ts'
import type { Change } from '../../model/change.ts'
import { asLsn } from '../../model/lsn.ts'
import type { Checkpoint, PipelineReport, SinkBatch } from '../../sync/ports.ts'
import { readCheckpoint } from './checkpoint.ts'

// The way back: the target is the monolith's database, whose authority row must allow every write.

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'reverse' })
  await installSchema(cdc.targetDb, ['gate'])
})
afterAll(() => cdc[Symbol.asyncDispose]())
beforeEach(async () => {
  await cdc.both(`drop table if exists r; create table r (id int primary key, n int)`)
  await publishTables(cdc, ['r'])
  await cdc.target.query(
    `delete from migrate.authority; delete from migrate.fence; drop sequence if exists migrate.fence_users`,
  )
  await cdc.target.query(`select migrate.enrol('users')`)
  await checkpoint(`authority_epoch = 2`)
})

const checkpoint = (set: string): Promise<unknown> => cdc.target.query(`update migrate.checkpoint set ${set}`)
const authority = (state: string, epoch: number): Promise<unknown> =>
  cdc.target.query(`update migrate.authority set state = $1, epoch = $2`, [state, epoch])

const table = relationOf(1, 'r', ['id:int4*', 'n:int4'])
function batch(from: Checkpoint, id: number, change: Change = insert(table, [int4(id), int4(0)])): SinkBatch {
  const work = { kind: 'exact', revoke: [], transactions: [rawTransaction(1, [change])] } as const
  const to = asLsn(from.commitLsn + BigInt(id))
  return { from, to, work, touched: [], part: 'whole', durable: true, token: null, start: null }
}

test('before the switch, while the fence of the cutover is on, a write waits; with the switch it goes through', async () => {
  const { sink, claim } = await openTestSink(cdc, ['r'], { direction: 'reverse' })
  const { rows } = await cdc.target.query(`select migrate.fence('users', 1, interval '1 minute', 'cutover')::text as f`)
  expect(await sink.write(batch(claim, 1))).toEqual({ kind: 'forbidden' })
  expect(await sink.write(batch(claim, 1))).toEqual({ kind: 'forbidden' })
  expect(await readCheckpoint(cdc.targetDb, PIPELINE)).toEqual({ ...claim, sourceSystem: expect.any(String) as string })
  await cdc.target.query(`select migrate.switch('users', 1, $1, 1)`, [rows[0].f])
  expect(await sink.write(batch(claim, 1))).toMatchObject({ kind: 'written' })
  expect(await rowsOf(cdc.target, 'r')).toEqual(['(1,0)'])
  await sink[Symbol.asyncDispose]()
})

test.each([
  ['the monolith has the authority and no fence is on', 'monolith', 1],
  ['the fence that was waited for belongs to another epoch', 'monolith', 5],
])('%s: nothing is written any more, the pipeline discards', async (_, state, epoch) => {
  await authority(state, epoch)
  if (epoch === 5) await cdc.target.query(`select migrate.fence('users', 1, interval '1 minute', 'cutover')`)
  const { sink, claim } = await openTestSink(cdc, ['r'], { direction: 'reverse' })
  expect(await sink.write(batch(claim, 1))).toEqual({ kind: 'changed' })
  expect(await readCheckpoint(cdc.targetDb, PIPELINE)).toMatchObject({ state: 'discard', commitLsn: claim.commitLsn })
  expect(await rowsOf(cdc.target, 'r')).toEqual([])
  await sink[Symbol.asyncDispose]()
})

test('the authority cannot move while rows are being written', async () => {
  await authority('service', 2)
  await cdc.target.query(`insert into r values (7, 0)`)
  const other = await cdc.client(cdc.targetUrl)
  await other.query(`begin`)
  await other.query(`update r set n = 1 where id = 7`)
  const { sink, claim } = await openTestSink(cdc, ['r'], { direction: 'reverse' })
  const writing = sink.write(batch(claim, 1, update(table, [int4(7), int4(2)])))
  const waits = `select 1 from pg_stat_activity where application_name like 'migrate/shop_users/%' and wait_event_type = 'Lock'`
  while ((await cdc.target.query(waits)).rowCount === 0);
  await cdc.target.query(`set lock_timeout = '50ms'`)
  await expect(cdc.target.query(`select migrate.switch_back('users', 1, 2)`)).rejects.toMatchObject({ code: '55P03' })
  await cdc.target.query(`reset lock_timeout`)
  await other.query(`rollback`)
  expect(await writing).toMatchObject({ kind: 'written' })
  await cdc.target.query(`select migrate.switch_back('users', 1, 2)`)
  expect(await rowsOf(cdc.target, 'r')).toEqual(['(7,2)'])
  await sink[Symbol.asyncDispose]()
})

test('nobody is ended for standing in the way of a write to the monolith', async () => {
  await authority('service', 2)
  await checkpoint('hold = true')
  await cdc.target.query(`insert into r values (7, 0)`)
  const other = await cdc.client(cdc.targetUrl)
  await other.query(`begin; update r set n = 1 where id = 7`)
  await cdc.source.query(`insert into r values (7, 0)`)
  await cdc.source.query(`update r set n = 2`)
  const run = await startPipeline(cdc, ['r'], { direction: 'reverse', until: await endOfLog(cdc.source) })
  const waits = `select 1 from pg_stat_activity where application_name like 'migrate/shop_users/%' and wait_event_type = 'Lock'
    and clock_timestamp() - state_change > interval '500 milliseconds'`
  while ((await cdc.target.query(waits)).rowCount === 0);
  await other.query(`rollback`)
  await run.ended
  expect(await rowsOf(cdc.target, 'r')).toEqual(['(7,2)'])
})

test('discards until its start token, then applies', async () => {
  await authority('service', 3)
  await checkpoint(`state = 'discard', authority_epoch = null`)
  await cdc.source.query(`insert into r values (1, 0)`)
  await cdc.source.query(`select pg_logical_emit_message(true, 'migrate.start', 'orders reverse 1 3')`)
  await cdc.source.query(`select pg_logical_emit_message(true, 'migrate.start', 'users forward 1 3')`)
  await cdc.source.query(`insert into r values (2, 0)`)
  await cdc.source.query(`select pg_logical_emit_message(true, 'migrate.start', 'users reverse 1 3')`)
  await cdc.source.query(`insert into r values (3, 0)`)
  expect(await catchUp(cdc, ['r'], { direction: 'reverse' })).toMatchObject({ rows: 1, foreign: 0 })
  expect(await rowsOf(cdc.target, 'r')).toEqual(['(3,0)'])
  expect(await readCheckpoint(cdc.targetDb, PIPELINE)).toMatchObject({ state: 'apply', authorityEpoch: 3 })
})

test('forward, what is discarded was written by somebody who should not: it is counted', async () => {
  await checkpoint(`state = 'discard'`)
  await cdc.source.query(`insert into r values (1, 0), (2, 0)`)
  expect(await catchUp(cdc, ['r'])).toMatchObject({ rows: 0, foreign: 2 })
  expect(await rowsOf(cdc.target, 'r')).toEqual([])
})

test('a rollback that was given up goes on under its new epoch, though nobody has told the worker', async () => {
  await authority('service', 3)
  await cdc.source.query(`insert into r values (1, 0)`)
  const reports: PipelineReport[] = []
  let forbidden = 0
  const run = await startPipeline(cdc, ['r'], {
    direction: 'reverse',
    until: await endOfLog(cdc.source),
    report: (report) => reports.push(report),
    sink: (sink) =>
      new Proxy(sink, {
        get: (target, name) =>
          name === 'write'
            ? async (wanted: SinkBatch) => {
                const result = await target.write(wanted)
                if (result.kind === 'forbidden') forbidden += 1
                return result
              }
            : (Reflect.get(target, name) as () => unknown).bind(target),
      }),
  })
  const before = reports.length
  // it says that it lives while it waits
  while (forbidden < 3 || reports.length === before) await new Promise((resolve) => setImmediate(resolve))
  await checkpoint(`authority_epoch = 3`)
  expect(await run.ended).toBe('reached')
  expect(await rowsOf(cdc.target, 'r')).toEqual(['(1,0)'])
})

test('the token of a run is noted with the position behind it', async () => {
  await authority('service', 2)
  await cdc.source.query(`insert into r values (1, 0)`)
  await cdc.source.query(`select pg_logical_emit_message(true, 'migrate.token', 'users 4 rollback')`)
  await catchUp(cdc, ['r'], { direction: 'reverse' })
  expect(await readCheckpoint(cdc.targetDb, PIPELINE)).toMatchObject({ token: 'users 4 rollback' })
  expect(await rowsOf(cdc.target, 'r')).toEqual(['(1,0)'])
})
