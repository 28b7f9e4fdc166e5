import { expect, test } from 'vitest'
import type { StoredRange, StoredTable } from './ports.ts'
import { orderWork, passesToBegin } from './work.ts'

const NOW = { epoch: 1, strict: false }

test('a pass begins where there is none, the last is through, or the authority is another', () => {
  expect(passesToBegin([table('a', null, [false])], NOW)).toEqual(['a'])
  expect(passesToBegin([table('a', 60, [true, true])], NOW)).toEqual(['a'])
  expect(passesToBegin([table('a', 60, [true, false])], NOW)).toEqual([])
  expect(passesToBegin([table('a', 60, [true, false])], { ...NOW, epoch: 2 })).toEqual(['a'])
  expect(passesToBegin([table('a', 60, [true, false])], { ...NOW, strict: true })).toEqual(['a'])
  expect(passesToBegin([table('a', 25 * 3600, [true, false])], NOW)).toEqual(['a'])
})

test('a pass that was broken off is finished before a table is begun again', () => {
  const [through, half, older] = [table('a', 60, [true]), table('b', 60, [true, false]), table('c', 90, [true])]
  expect(passesToBegin([through, half], NOW)).toEqual([])
  expect(passesToBegin([through, half, older], NOW)).toEqual(['c'])
  expect(passesToBegin([through, older], NOW)).toEqual(['a', 'c'])
})

test('dirty ranges come first, then those verified longest ago', () => {
  const ranges = [
    range(0, { verifiedAge: 5 }),
    range(1, { verifiedAge: 50 }),
    range(2, { state: 'open' }),
    range(3, { state: 'drift', verifiedAge: 1 }),
    range(4, { done: true }),
    range(5, { state: 'unsettled', verifiedAge: 2 }),
  ]
  const order = orderWork([{ ...table('a', 1, []), ranges }]).map((work) => work.range.number)
  expect(order).toEqual([3, 5, 2, 1, 0])
})

function table(relation: string, passAge: number | null, done: boolean[]): StoredTable {
  const ranges = done.map((is, number) => range(number, { done: is }))
  return { relation, signature: '', passAge, epoch: 1, strict: false, ranges }
}

function range(number: number, more: Partial<StoredRange>): StoredRange {
  return { number, lo: null, hi: null, state: 'verified', rows: 1, done: false, verifiedAge: null, ...more }
}
