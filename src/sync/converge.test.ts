import { describe, expect, test } from 'vitest'
import {
  int8,
  insert,
  keyColumnsOf,
  relationOf,
  remove,
  show,
  text,
  transaction,
  truncate,
  update,
} from '../../test/support/changes.ts'
import { type Row, type Transaction, UNCHANGED } from '../model/change.ts'
import { ZERO_LSN } from '../model/lsn.ts'
import { converge, keyName, type Skipped, stillOwed } from './converge.ts'
import type { RowWrite } from './ports.ts'

const users = relationOf(1, 'users', ['id:int8*', 'name:text', 'bio:text'])
const whole = (id: number, name: string, bio = 'bio'): Row => [int8(id), text(name), text(bio)]
const part = (id: number, name: string): Row => [int8(id), text(name), UNCHANGED]
const oldKey = (id: number): Row => [int8(id), null, null]
const none: Skipped = new Map()
const write = ({ op, key, row }: RowWrite): string =>
  `${op} ${(key[0] as Buffer).readBigInt64BE()} ${row.slice(1).map(show).join(' ')}`.trim()
const run = (due: Transaction[], held: Transaction[] = [], skipped: Skipped = none, now = 0) => {
  const { writes, ...rest } = converge(due, held, keyColumnsOf, skipped, now)
  return { ...rest, writes: writes.map((each) => write(each.write)), quiet: writes.map(({ quiet }) => quiet) }
}

describe('converge', () => {
  test('writes the last state of each key once', () => {
    const due = [
      transaction(1, [insert(users, whole(1, 'a')), update(users, whole(1, 'b'))]),
      transaction(2, [update(users, whole(2, 'c')), remove(users, oldKey(3))]),
      transaction(3, [update(users, part(1, 'd'))]),
    ]
    expect(run(due)).toMatchObject({
      writes: ['insert 2 c bio', 'delete 3', 'insert 1 d bio'],
      quiet: [true, true, false],
      early: false,
    })
  })

  test('an update without its TOAST value stays an update when nothing has the value', () => {
    expect(run([transaction(1, [update(users, part(1, 'a')), update(users, part(1, 'b'))])]).writes).toEqual([
      'update 1 b unchanged',
    ])
  })

  test('a new key is a delete and an insert', () => {
    const due = [transaction(1, [update(users, whole(2, 'a'), oldKey(1))])]
    expect(run(due).writes).toEqual(['delete 1', 'insert 2 a bio'])
  })

  test('a key with a newer held change is left out, and owed from the first change that was', () => {
    const due = [transaction(5, [update(users, whole(1, 'a'))]), transaction(6, [update(users, whole(1, 'b'))])]
    const first = run(due, [transaction(7, [update(users, whole(1, 'c'))])], none, 10)
    expect(first.writes).toEqual([])
    expect([...first.skipped.values()]).toEqual([{ since: 10, lsn: 5n }])
    const second = run([transaction(7, [update(users, whole(1, 'c'))])], [], first.skipped, 20)
    expect([second.writes, second.skipped.size]).toEqual([['insert 1 c bio'], 0])
  })

  test('after two seconds the newest held state is written at once, early', () => {
    const held = [transaction(7, [update(users, whole(1, 'c'))]), transaction(8, [update(users, part(1, 'd'))])]
    const due = [transaction(6, [update(users, whole(1, 'b'))])]
    const skipped: Skipped = new Map([
      [keyName({ relation: users, op: 'insert', key: [int8(1)], row: [] }), { since: 0, lsn: ZERO_LSN }],
    ])
    expect(run(due, held, skipped, 1_999)).toMatchObject({ writes: [], early: false })
    expect(run(due, held, skipped, 2_000)).toMatchObject({ writes: ['insert 1 d bio'], quiet: [false], early: true })
  })

  test('a held change that cannot stand alone takes nothing out', () => {
    const due = [transaction(6, [update(users, whole(1, 'b'))])]
    expect(run(due, [transaction(7, [update(users, part(1, 'c'))])]).writes).toEqual(['insert 1 b bio'])
  })

  test('a row whose values a held change moves on to another key is written', () => {
    const due = [transaction(6, [update(users, whole(1, 'b', 'new'))])]
    const held = [transaction(7, [update(users, part(2, 'c'), oldKey(1)), insert(users, whole(1, 'd'))])]
    expect(run(due, held).writes).toEqual(['insert 1 b new'])
  })

  test('after a replay only keys that it did not speak of are owed', () => {
    const owed = { since: 0, lsn: ZERO_LSN }
    const other = relationOf(2, 'other', ['id:int8*'])
    const named = (relation: typeof users, id: number): string =>
      keyName({ relation, op: 'delete', key: [int8(id)], row: [] })
    const keys = [named(users, 1), named(users, 2), named(other, 1)]
    const skipped: Skipped = new Map(keys.map((key) => [key, owed]))
    const done = [transaction(1, [remove(users, oldKey(2)), truncate(other)])]
    expect([...stillOwed(skipped, done, keyColumnsOf).keys()]).toEqual([keys[0]])
  })
})
