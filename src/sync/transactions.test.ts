import { expect, test } from 'vitest'
import { MigrateError } from '../errors.ts'
import { MessageTaker } from '../../test/support/raw.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const u64 = (value: number): string => value.toString(16).padStart(16, '0')
const begin = (final: number): Buffer => hex(`42 ${u64(final)} ${u64(0)} 00000309`)
const commit = (at: number, end: number): Buffer => hex(`43 00 ${u64(at)} ${u64(end)} ${u64(0)}`)
const relation = hex('52 00004001 7075626c696300 7500 64 0001 01 696400 00000014 ffffffff')
const insertOne = hex('49 00004001 4e 0001 62 00000008 0000000000000007')
const note = (prefix: string, content: string): Buffer =>
  Buffer.concat([
    hex(`4d 01 ${u64(0)}`),
    Buffer.from(`${prefix}\0`),
    hex(content.length.toString(16).padStart(8, '0')),
    Buffer.from(content),
  ])

function failure(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof MigrateError) return `${error.code}: ${String(error.context.reason)}`
    throw error
  }
  return 'no error'
}

test('messages become whole transactions with the end of their commit record as position', () => {
  const transactions = new MessageTaker()
  const pushed = [begin(100), relation, insertOne, note('migrate.token', 'users 1 x'), insertOne, commit(100, 148)]
  const results = pushed.map((bytes) => transactions.push(bytes))
  expect(results.slice(0, -1)).toEqual([null, null, null, null, null])
  expect(results.at(-1)).toMatchObject({
    ...{ xid: 0x309, commitLsn: 148n, bytes: 2 * insertOne.length },
    changes: [{ op: 'insert', relation: { schema: 'public', name: 'u' } }, { op: 'insert' }],
    notes: [{ prefix: 'migrate.token', content: 'users 1 x' }],
  })
})

test('knows whether it is inside a transaction, and keeps relations from one to the next', () => {
  const transactions = new MessageTaker()
  const inside = [begin(1), relation, insertOne, commit(1, 2), begin(3), insertOne, commit(3, 4)].map((bytes) => {
    transactions.push(bytes)
    return transactions.transactions.inside
  })
  expect(inside).toEqual([true, true, true, false, true, true, false])
})

test("a message outside of transactions is nobody's", () => {
  const transactions = new MessageTaker()
  expect(transactions.push(note('migrate.token', 'users 1 x'))).toBeNull()
  transactions.push(begin(1))
  expect(transactions.push(commit(1, 2))).toMatchObject({ notes: [], changes: [] })
})

test.each([
  ['a change outside a transaction', [relation, insertOne]],
  ['a change outside a transaction', [commit(1, 2)]],
  ['unknown relation 16385', [begin(1), insertOne, commit(1, 2)]],
  ['a transaction inside a transaction', [begin(1), begin(2)]],
  ['a commit of another transaction', [begin(1), commit(2, 3)]],
])('%s is malformed', (reason, messages) => {
  const transactions = new MessageTaker()
  expect(failure(() => messages.map((bytes) => transactions.push(bytes)?.changes))).toBe(`STREAM_MALFORMED: ${reason}`)
})
