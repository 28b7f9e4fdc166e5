import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Cdc, catchUp, openCdc, PIPELINE, rowsOf, SLOT, tableInfos } from '../../../test/support/cdc.ts'
import { publish } from './arm.ts'
import { readServer } from './catalogue.ts'
import { readCheckpoint } from './checkpoint.ts'
import { preflight } from './preflight.ts'
import { dropSlot, freeSlot, readSlot } from './slot.ts'
import { copyTables } from './snapshot.ts'

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

  async function copy(more: { onTable?: (table: string, rows: number) => void; signal?: AbortSignal } = {}) {
    const [sources, targets] = [await tableInfos(cdc.sourceDb, ['a', 'b']), await tableInfos(cdc.targetDb, ['a', 'b'])]
    const applicationName = `migrate/${PIPELINE}/copy`
    await copyTables({
      source: { url: cdc.sourceUrl, role: 'monolith', applicationName },
      target: { url: cdc.targetUrl, role: 'users', applicationName },
      ...{ slot: SLOT, pipeline: PIPELINE, sourceSystem: (await readServer(cdc.sourceDb)).systemIdentifier },
      tables: sources.map((source, i) => ({ source, target: targets[i] ?? source })),
      onTable: () => undefined,
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

describe('the preflight', () => {
  const check = async (...tables: string[]) =>
    (
      await preflight({
        service: 'users',
        monolith: cdc.sourceDb,
        target: cdc.targetDb,
        tables,
        monolithRole: undefined,
      })
    ).findings
  const ids = (findings: { check: string; fix: string }[]): string[] =>
    findings.map((each) => `${each.check}: ${each.fix}`)

  test.each([
    [
      'no key',
      `create table t (a int)`,
      `create table t (a int)`,
      'replica-identity: alter table "public"."t" add column id bigint generated always as identity primary key;',
    ],
    [
      'a unique index that could be the key',
      `create table t (a int not null unique)`,
      `create table t (a int)`,
      'replica-identity: alter table "public"."t" add primary key using index t_a_key;',
    ],
    [
      'another replica identity',
      `create table t (a int primary key); alter table t replica identity full`,
      `create table t (a int primary key)`,
      'replica-identity: alter table "public"."t" replica identity default;',
    ],
    [
      'a column that is generated in the monolith only',
      `create table t (a int primary key, b int generated always as (a) stored)`,
      `create table t (a int primary key, b int)`,
      'target: alter table "public"."t" drop column "b", add column "b" integer generated always as (…) stored;',
    ],
    [
      'a column that is generated in the service only',
      `create table t (a int primary key, b int)`,
      `create table t (a int primary key, b int generated always as (a) stored)`,
      'target: alter table "public"."t" alter column "b" drop expression;',
    ],
    [
      'another type',
      `create table t (a int primary key, b varchar(20))`,
      `create table t (a int primary key, b varchar(10))`,
      'target: alter table "public"."t" alter column "b" type character varying(20);',
    ],
    [
      'a missing column',
      `create table t (a int primary key, b int)`,
      `create table t (a int primary key)`,
      'target: alter table "public"."t" add column "b" integer;',
    ],
    [
      'another key',
      `create table t (a int primary key, b int not null)`,
      `create table t (a int, b int primary key)`,
      'target: alter table "public"."t" add primary key ("a");',
    ],
  ])('finds %s, with the SQL that mends it', async (_, source, target, found) => {
    await cdc.both(`drop table if exists t`)
    await cdc.source.query(source)
    await cdc.target.query(target)
    expect(ids(await check('t')).filter((each) => !each.startsWith('apply-role'))).toContain(found)
  })

  test('finds nothing where nothing is wrong', async () => {
    await cdc.both(`drop table if exists t; create table t (a int primary key, b text)`)
    expect(ids(await check('t')).filter((each) => !each.startsWith('apply-role'))).toEqual([])
  })

  test('names a table that is not there', async () => {
    expect(ids(await check('nothing'))).toContain('table: correct services.users.tables')
  })
})
