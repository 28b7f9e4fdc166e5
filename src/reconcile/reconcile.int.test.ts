import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import { openTwoDatabases, type TwoDatabases } from '../../test/support/two-databases.ts'
import { takeLease } from '../control/lease.ts'
import { readVerification } from '../app/verification.ts'
import type { ServiceReport } from './report.ts'

let server: PostgresServer
let two: TwoDatabases

beforeAll(async () => {
  server = await startPostgres({ name: 'reconcile' })
  two = await openTwoDatabases(server, 'kinds')
})
afterAll(async () => {
  await two?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})

/** What makes the service wrong, and what has to be found. */
const CORRUPTIONS: readonly (readonly [string, string, readonly string[]])[] = [
  ['a missing insert', 'delete from things where id = 300', ['missing 300']],
  ['a missing delete', `insert into things (id, at) values (301, now())`, ['extra 301']],
  ['a row beyond the last key', `insert into things (id, at) values (999999, now())`, ['extra 999999']],
  ['a row before the first key', `insert into things (id, at) values (-5, now())`, ['extra -5']],
  ['a wrong value', `update things set name = 'Name 5' where id = 15`, ['different 15: name']],
  ['a wrong key', 'update things set id = 302 where id = 303', ['extra 302', 'missing 303']],
  ['a numeric scale', 'update things set amount = trim_scale(amount) where id = 21', ['different 21: amount']],
  ['NULL for the empty text', 'update things set note = null where id = 600', ['different 600: note']],
  ['the empty text for NULL', `update things set note = '' where id = 3`, ['different 3: note']],
  ['the order of a JSON text', `update things set doc = '{"b":2,"a":1}' where id = 33`, ['different 33: doc']],
  ['the order in a jsonb array', `update things set data = '{"l":[2,1]}' where id = 36`, ['different 36: data']],
  [
    'the values of two rows swapped',
    `update things t set name = o.name, amount = o.amount, note = o.note, at = o.at, f = o.f
     from things o where (t.id, o.id) in ((900, 906), (906, 900))`,
    ['different 900: name, amount, at, f', 'different 906: name, amount, at, f'],
  ],
  [
    'the same change in two rows',
    `update things set kind = 'OLD' where id in (1200, 1203)`,
    ['different 1200: kind', 'different 1203: kind'],
  ],
  ['a lost microsecond', `update things set at = date_trunc('second', at) + '1us' where id = 39`, ['different 39: at']],
  ['a sign of zero', `update things set f = '-0' where id = 42`, ['different 42: f']],
  ['an array element', `update things set tags = '{x,NULL}' where id = 45`, ['different 45: tags']],
  ['a row of a composite key', `delete from prefs where user_id = 7 and key = 'B'`, ['missing 7 B']],
  [
    'a letter case in a key',
    `update prefs set key = 'b' where user_id = 8 and key = 'B'`,
    ['extra 8 b', 'missing 8 B'],
  ],
]

describe('planted corruption', () => {
  test('the clean control: nothing is found, everything verified', async () => {
    const report = await two.compare()
    expect(found(report)).toEqual([])
    expect(report).toMatchObject({ outcome: 'verified', authority: 'monolith', rows: 6_500 })
    expect(report.tables.map(({ ranges }) => ranges.verified)).toEqual([8, 3])
    const seen = await readVerification(two.app, 'users', 1)
    expect(seen).toMatchObject({ drift: 0, through: expect.stringMatching(/^[\dA-F]+\/[\dA-F]+$/) })
  })

  test.each(CORRUPTIONS)('%s is found and named', async (_, sql, expected) => {
    await two.monolith.query(`update things set f = 0 where id = 42`)
    await two.service.query(`update things set f = 0 where id = 42`)
    await two.service.query('begin')
    await two.service.query(sql)
    await two.service.query('commit')
    expect(found(await two.compare({ strict: expected.length === 2 }))).toEqual(expected)
    // and nothing else: the next one would find what this one leaves
    await restore()
  })

  test('all of it at once, on the other side of the authority', async () => {
    for (const [, sql] of CORRUPTIONS) await two.service.query(sql)
    const all = CORRUPTIONS.flatMap(([, , expected]) => expected)
    expect(found(await two.compare())).toEqual(all.toSorted())
    await two.monolith.query(`update migrate.authority set state = 'service', epoch = 2`)
    await two.app.control.query(`update migrate.service set stage = 'live'`)
    const report = await two.compare()
    expect(report).toMatchObject({ authority: 'service', epoch: 2, outcome: 'drift' })
    const turned = all.map((text) =>
      text.replace(/^(missing|extra)/, (kind) => (kind === 'extra' ? 'missing' : 'extra')),
    )
    expect(found(report)).toEqual(turned.toSorted())
    await two.monolith.query(`update migrate.authority set state = 'monolith', epoch = 3`)
    await two.app.control.query(`update migrate.service set stage = 'sync'`)
    await restore()
    expect(await two.compare()).toMatchObject({ outcome: 'verified', epoch: 3 })
  })
})

describe('what is verified', () => {
  test('a whole table that is gone is counted, its keys are capped', async () => {
    await two.service.query('truncate things')
    const report = await two.compare()
    expect(report.tables[0]).toMatchObject({ outcome: 'drift', drift: { missing: 5_000, extra: 0 }, truncated: true })
    expect(report.tables[0]?.keys).toHaveLength(100)
    expect(report.tables[1]).toMatchObject({ outcome: 'verified' })
    await restore()
  })

  test('drift keeps when it was first seen, and never moves the verified position', async () => {
    await two.compare()
    const before = await readVerification(two.app, 'users', 3)
    await two.service.query(`update things set name = 'x' where id = 15`)
    const first = await two.compare()
    const second = await two.compare()
    expect(second.tables[0]?.keys[0]?.firstSeen).toBe(first.tables[0]?.keys[0]?.firstSeen)
    const after = await readVerification(two.app, 'users', 3)
    expect(after).toMatchObject({ drift: 1, tables: [{ through: before?.tables[0]?.through, drift: 1 }, {}] })
    await restore()
    await two.compare()
    const mended = await readVerification(two.app, 'users', 3)
    expect(mended?.drift).toBe(0)
    expect(mended?.tables[0]?.through).not.toBe(before?.tables[0]?.through)
  })

  test('a budget that is over leaves the rest to the next runs, and is no verification', async () => {
    const outcomes: string[] = []
    let looked = 0
    for (let run = 0; run < 60 && outcomes.at(-1) !== 'verified'; run++) {
      const report = await two.compare({ budget: 10, rangeRows: 100, tables: ['things'] })
      looked += report.ranges
      outcomes.push(report.outcome)
    }
    expect(outcomes.slice(0, -1)).toEqual(outcomes.slice(1).map(() => 'partial'))
    expect(outcomes.length).toBeGreaterThan(1)
    // no range of a pass twice, none left out
    expect(looked).toBe(50)
  })

  test('a range whose statement the server refuses is no verification either', async () => {
    await two.service.query('begin; lock table prefs in access exclusive mode')
    const blocked = await two.compare()
    await two.service.query('rollback')
    expect(blocked).toMatchObject({ outcome: 'partial', tables: [{ outcome: 'verified' }, { ranges: { failed: 3 } }] })
    const again = await two.compare()
    expect(again).toMatchObject({ outcome: 'verified', ranges: 3 })
  })

  test('a run at the same time is refused', async () => {
    const signal = new AbortController().signal
    await using _lease = await takeLease(two.app.control, { name: 'reconcile/users', seconds: 2, signal })
    await expect(two.compare()).rejects.toMatchObject({ code: 'LOCKED', exit: 5 })
  })

  test('without a worker it is refused, unless nothing moves', async () => {
    await expect(two.compare({ offline: false })).rejects.toMatchObject({ code: 'WORKER_MISSING', exit: 4 })
  })
})

test('keys that the two sides order differently are compared all the same', async () => {
  await using other = await openTwoDatabases(server, 'orders', { tables: ['codes'], rows: 10 })
  const codes = `insert into codes select case when i % 2 = 0 then 'Code ' else 'code-' end || i, i from generate_series(1, 5000) i`
  await other.monolith.query(`create table codes (code text collate "C" primary key, n int)`)
  await other.service.query(`create table codes (n int, code text collate "en-x-icu" primary key)`)
  await other.monolith.query(`${codes}; analyze codes`)
  await other.service.query(codes.replace('codes select', 'codes (code, n) select'))
  const clean = await other.compare()
  expect(clean).toMatchObject({ outcome: 'verified', rows: 5_000 })
  expect(clean.ranges).toBeGreaterThan(4)
  await other.service.query(`delete from codes where code = 'code-77'; update codes set n = 0 where code = 'Code 78'`)
  expect(found(await other.compare())).toEqual(['different Code 78: n', 'missing code-77'])
})

/** `kind key: columns`, sorted. */
function found(report: ServiceReport): string[] {
  return report.tables
    .flatMap(({ keys }) => keys)
    .map(({ kind, key, columns }) => `${kind} ${key.join(' ')}${columns.length > 0 ? `: ${columns.join(', ')}` : ''}`)
    .toSorted()
}

/** The service's rows from the monolith's. */
async function restore(): Promise<void> {
  for (const [table, columns] of [
    ['things', 'id, name, amount, note, doc, data, tags, kind, at, f'],
    ['prefs', 'user_id, key, value'],
  ] as const) {
    const { rows } = await two.monolith.query(`select json_agg(t)::text as all from ${table} t`)
    await two.service.query(`truncate ${table}`)
    await two.service.query(
      `insert into ${table} (${columns}) select ${columns} from json_populate_recordset(null::${table}, $1)`,
      [rows[0].all],
    )
  }
}
