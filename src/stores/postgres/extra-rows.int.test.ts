import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import {
  type Cdc,
  endOfLog,
  openCdc,
  PIPELINE,
  publishTables,
  rowsOf,
  startPipeline,
  tableInfos,
} from '../../../test/support/cdc.ts'
import { keyColumnsOf, relationOf, text, transaction, insert } from '../../../test/support/changes.ts'
import { ExtraRows } from '../../sync/extra-rows.ts'
import type { RowName } from '../../sync/ports.ts'
import { lackingRows } from './lacking-rows.ts'
import { changePipeline } from './pipeline-control.ts'

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'extra' })
})
afterAll(() => cdc[Symbol.asyncDispose]())
beforeEach(async () => {
  await cdc.both(`drop table if exists i; drop type if exists colour; create type colour as enum ('red', 'blue');
    create table i (c colour, name varchar(20), n int, primary key (c, name))`)
  await publishTables(cdc, ['i'])
})

const relation = relationOf(77, 'i', ['c*', 'name*', 'n:int4'])
const row = (colour: string, name: string): RowName => ({ relation, key: [text(colour), text(name)] })

test('rows are looked for by their whole key, whatever its types', async () => {
  await cdc.source.query(`insert into i select 'red', 'r' || n, n from generate_series(1, 300) n`)
  const rows = Array.from({ length: 600 }, (_, n) => row(n % 2 === 0 ? 'red' : 'blue', `r${Math.floor(n / 2) + 1}`))
  const lacking = await lackingRows(cdc.sourceDb, await tableInfos(cdc.sourceDb, ['i']), rows)
  expect(lacking).toEqual(rows.filter((_, n) => n % 2 === 1))
})

test('a row that only a leg has made goes once the held changes before it are written, and is kept in migrate.undo', async () => {
  await changePipeline(cdc.targetDb, PIPELINE, 1, { hold: true, graceMs: 300 })
  const tables = await tableInfos(cdc.sourceDb, ['i'])
  const extraRows = new ExtraRows({
    lacking: (rows) => lackingRows(cdc.sourceDb, tables, rows),
    position: () => endOfLog(cdc.source),
    foreignKeys: () => Promise.resolve([]),
  })
  const stop = new AbortController()
  const { ended, counters } = await startPipeline(cdc, ['i'], { extraRows, signal: stop.signal })
  await cdc.source.query(`insert into i values ('red', 'kept', 1), ('red', 'gone', 1)`)
  // two legs; the monolith deletes the second row again, which is held back for its grace
  await cdc.target.query(`insert into i values ('red', 'kept', 1), ('red', 'gone', 1), ('blue', 'extra', 1)`)
  await cdc.source.query(`delete from i where name = 'gone'`)
  const made = ['kept', 'gone'].map((name) => insert(relation, [...row('red', name).key, null]))
  made.push(insert(relation, [...row('blue', 'extra').key, null]))
  const one = transaction(1, made)
  const { promise: settled, resolve } = Promise.withResolvers<void>()
  extraRows.startReverse(resolve)
  await extraRows.announce([one], keyColumnsOf)
  expect((await rowsOf(cdc.target, 'i')).length).toBe(3)
  await settled
  expect(extraRows.isWaiting(one.commitLsn)).toBe(false)
  expect(await rowsOf(cdc.target, 'i')).toEqual(await rowsOf(cdc.source, 'i'))
  // the one that the monolith has deleted itself is no extra row
  await vi.waitFor(() => expect(counters.extra).toBe(1))
  const { rows } = await cdc.target.query(`select service, relation, reason, row from migrate.undo`)
  expect(rows).toEqual([
    { service: 'users', relation: 'public.i', reason: 'extra', row: { c: 'blue', name: 'extra', n: 1 } },
  ])
  stop.abort()
  await ended
})
