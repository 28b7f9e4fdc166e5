import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Cdc, catchUp, openCdc, PIPELINE, rowsOf, SLOT, tableInfos } from '../../../test/support/cdc.ts'
import { publish } from './arm.ts'
import { readServer } from './catalogue.ts'
import { readCheckpoint } from './checkpoint.ts'
import { dropSlot, freeSlot, readSlot } from './slot.ts'
import { copyTables, type CopyOptions, type CopyProgress } from './snapshot.ts'

let cdc: Cdc
beforeAll(async () => {
  cdc = await openCdc({ name: 'prepare' })
})
afterAll(() => cdc[Symbol.asyncDispose]())

describe('the copy', () => {
  beforeEach(async () => {
    await freeSlot(cdc.sourceDb, SLOT)
    await dropSlot(cdc.sourceDb, SLOT)
    await cdc.both(`drop table if exists a, b cascade; create table a (id bigint generated always as identity primary key, n int,
      twice int generated always as (n * 2) stored); create table b (id int primary key, note text)`)
    await cdc.source.query(`insert into a (n) select i from generate_series(1, 3000) i`)
    await cdc.source.query(`insert into b select i, repeat('x', 5000) from generate_series(1, 500) i`)
    await cdc.target.query(`delete from migrate.checkpoint`)
    await cdc.source.query(`drop publication if exists p`)
    await publish(cdc.sourceDb, 'p', await tableInfos(cdc.sourceDb, ['a', 'b']))
  })

  async function copy(more: Partial<Pick<CopyOptions, 'onTable' | 'onRows' | 'signal'>> = {}) {
    const [sources, targets] = [await tableInfos(cdc.sourceDb, ['a', 'b']), await tableInfos(cdc.targetDb, ['a', 'b'])]
    const applicationName = `migrate/${PIPELINE}/copy`
    await copyTables({
      source: { url: cdc.sourceUrl, role: 'monolith', applicationName },
      target: { url: cdc.targetUrl, role: 'users', applicationName },
      ...{ slot: SLOT, pipeline: PIPELINE, sourceSystem: (await readServer(cdc.sourceDb)).systemIdentifier },
      tables: sources.map((source, i) => ({ source, target: targets[i] ?? source })),
      onTable: () => undefined,
      onRows: () => undefined,
      ...more,
    })
  }

  test('and the stream behind it have every change once, whenever it was made', async () => {
    let writing = true
    const writer = (async () => {
      for (let n = 1; writing; n++) {
        await cdc.source.query(
          `begin; insert into a (n) values (${n}); update a set n = n + 1 where id = ${n}; delete from b where id = ${n}; commit`,
        )
      }
    })()
    await copy()
    writing = false
    await writer
    await catchUp(cdc, ['a', 'b'])
    expect(await rowsOf(cdc.target, 'a')).toEqual(await rowsOf(cdc.source, 'a'))
    expect(await rowsOf(cdc.target, 'b')).toEqual(await rowsOf(cdc.source, 'b'))
  })

  test('tells about once a second how many rows it has, of about how many', async () => {
    await cdc.source.query('analyze a, b')
    // some two seconds for the first half
    await cdc.target.query(`create function slow() returns trigger language plpgsql as
      'begin perform pg_sleep(0.001); return new; end';
      create trigger slow before insert on a for each row when (new.id <= 1500) execute function slow();
      alter table a enable always trigger slow`)
    const told: CopyProgress[] = []
    await copy({ onRows: (progress) => told.push(progress) })
    await cdc.target.query('drop function slow cascade')
    const [first, ...later] = told.filter(({ table }) => table === 'public.a')
    expect(first).toEqual({ table: 'public.a', rows: 0, estimate: 3_000, number: 1, of: 2 })
    expect(later.length).toBeGreaterThan(0)
    const rows = later.map((progress) => progress.rows)
    expect(rows).toEqual(rows.toSorted((a, b) => a - b))
    expect(rows.every((count) => count > 0 && count <= 3_000)).toBe(true)
    expect(told.at(-1)).toMatchObject({ table: 'public.b', number: 2, estimate: 500 })
  })

  test('that is stopped leaves no row and no checkpoint, and is made again', async () => {
    const stop = new AbortController()
    const onTable = (): void => stop.abort(new Error('^C'))
    await expect(copy({ onTable, signal: stop.signal })).rejects.toThrow('^C')
    expect(await rowsOf(cdc.target, 'a')).toEqual([])
    expect(await readCheckpoint(cdc.targetDb, PIPELINE)).toBeNull()
    await freeSlot(cdc.sourceDb, SLOT)
    await dropSlot(cdc.sourceDb, SLOT)
    await copy()
    expect(await rowsOf(cdc.target, 'a')).toHaveLength(3_000)
    expect((await readSlot(cdc.sourceDb, SLOT))?.confirmed).toBe(
      (await readCheckpoint(cdc.targetDb, PIPELINE))?.commitLsn,
    )
  })

  test('does not touch a table that has rows', async () => {
    await cdc.target.query(`insert into b values (9, 'mine')`)
    await expect(copy()).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY', context: { table: 'public.b' } })
    expect(await rowsOf(cdc.target, 'a')).toEqual([])
    expect(await rowsOf(cdc.target, 'b')).toEqual(['(9,mine)'])
  })
})
