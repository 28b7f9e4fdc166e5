import { expect, test } from 'vitest'
import {
  int8,
  insert,
  keyColumnsOf,
  relationOf,
  remove,
  text,
  transaction,
  truncate,
  update,
} from '../../test/support/changes.ts'
import { NOTE, type Transaction } from '../model/change.ts'
import { BATCH_BYTES, BATCH_ROWS, batchLength, dueAt, isOurs, startOf, tokenOf, touchedKeys } from './queue.ts'

const users = relationOf(1, 'users', ['id:int8*', 'name:text'])
const row = insert(users, [int8(1), text('a')])
const always = (): boolean => true
const queue = (...transactions: Transaction[]) => transactions.map((each) => ({ transaction: each, receivedAt: 0 }))
const rows = (count: number): Transaction =>
  transaction(
    1,
    Array.from({ length: count }, () => row),
  )
const bytes = (size: number): Transaction => ({ ...rows(1), bytes: size })
const token = (service = 'users'): Transaction =>
  transaction(9, [], [{ prefix: NOTE.token, content: `${service} 7 x` }])
const start = transaction(9, [], [{ prefix: NOTE.start, content: 'users reverse 7 3' }])

test.each([
  ['nothing waits', queue(), 0],
  ['all that is due', queue(rows(1), rows(2), rows(3)), 3],
  ['up to the limit of rows', queue(rows(BATCH_ROWS - 1), rows(1), rows(1)), 2],
  ['a transaction over the limit of rows goes alone', queue(rows(BATCH_ROWS * 3), rows(1)), 1],
  ['up to the limit of bytes', queue(bytes(BATCH_BYTES - 1), bytes(1), bytes(1)), 2],
  ['a transaction over the limit of bytes goes alone', queue(bytes(BATCH_BYTES * 3), bytes(1)), 1],
  ['a token goes alone', queue(token(), rows(1)), 1],
  ['what is before a token goes before it', queue(rows(1), rows(1), token(), rows(1)), 2],
  ['two tokens go one by one', queue(token(), token()), 1],
  ['a start token goes alone', queue(start, rows(1)), 1],
  ['what is before a start token goes before it', queue(rows(1), start), 1],
])('a batch: %s', (_, waiting, count) => {
  expect(batchLength(waiting, always)).toBe(count)
})

test('a batch ends before the first that is not due, even when later ones are', () => {
  const waiting = [1, 5, 2].map((receivedAt) => ({ transaction: rows(1), receivedAt }))
  expect(batchLength(waiting, (pending) => pending.receivedAt < 3)).toBe(1)
})

test('under a hold a transaction is due after the grace, else at once', () => {
  const pending = { transaction: rows(1), receivedAt: 100 }
  expect(dueAt(pending, { hold: true, graceMs: 1_000 })).toBe(1_100)
  expect(dueAt(pending, { hold: false, graceMs: 1_000 })).toBe(100)
})

test('an apply of ours is known by its service', () => {
  const marked = transaction(1, [row], [{ prefix: NOTE.apply, content: 'users forward 4' }])
  expect([isOurs(marked, 'users'), isOurs(marked, 'user'), isOurs(rows(1), 'users')]).toEqual([true, false, false])
})

test('tokens are read for their own service and direction only', () => {
  expect([tokenOf(token(), 'users'), tokenOf(token(), 'orders'), tokenOf(start, 'users')]).toEqual([
    'users 7 x',
    null,
    null,
  ])
  expect(startOf(start, 'users', 'reverse')).toEqual({ authorityEpoch: 3 })
  expect([startOf(start, 'users', 'forward'), startOf(start, 'orders', 'reverse')]).toEqual([null, null])
})

test('the keys touched are both of an update that changes the key, and none of a TRUNCATE', () => {
  const changes = [
    row,
    update(users, [int8(3), text('c')], [int8(2), null]),
    update(users, [int8(4), text('d')]),
    remove(users, [int8(5), null]),
    truncate(users),
  ]
  const keys = touchedKeys([transaction(1, changes)], keyColumnsOf).map(({ key }) => key)
  expect(keys).toEqual([[int8(1)], [int8(3)], [int8(2)], [int8(4)], [int8(5)]])
})
