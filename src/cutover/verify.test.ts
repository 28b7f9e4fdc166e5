import { expect, test } from 'vitest'
import { memoryRun } from '../../test/support/memory-ports.ts'
import type { RowKey } from './ports.ts'
import { verifyAll, verifyTouched } from './verify.ts'

const key = (id: number): RowKey => ({ table: 'public.users', key: [String(id)] })
const keys = (...ids: number[]): RowKey[] => ids.map(key)

/** Both sides: which rows differ in the first comparison and in later ones, which are noted as touched by and by. */
function sides(first: RowKey[], later: RowKey[][], touched: RowKey[][]) {
  let token = ''
  return memoryRun('cutover', {
    compareAll: () => Promise.resolve(first),
    compareKeys: () => Promise.resolve(later.shift() ?? []),
    takeTouched: () => Promise.resolve(touched.shift() ?? []),
    emitToken: (_side, _run, mark) => Promise.resolve((token = mark)),
    tokenSeen: () => Promise.resolve(token),
  })
}

test('rows that differ because they are being written are looked at again in the end', async () => {
  expect(await verifyAll(sides(keys(1, 2), [], [keys(1, 2, 3)]), 'forward')).toEqual(keys(1, 2, 3))
})

test('a row that differs and that nobody touches is drift', async () => {
  const run = sides(keys(1), [keys(1), keys(1)], [[], []])
  await expect(verifyAll(run, 'forward')).rejects.toMatchObject({ code: 'DRIFT_FOUND', context: { count: 1 } })
})

test('a row that is equal at the second look is none', async () => {
  expect(await verifyAll(sides(keys(1), [[]], [[]]), 'forward')).toEqual([])
})

test('a row that is touched between the looks is looked at again in the end', async () => {
  expect(await verifyAll(sides(keys(1), [keys(1)], [[], keys(1)]), 'forward')).toEqual(keys(1))
})

test('more rows than can be compared while writes are stopped are compared again', async () => {
  const many = Array.from({ length: 5_000 }, (_, id) => key(id))
  const run = sides([], [[]], [many, keys(1)])
  expect(await verifyAll(run, 'forward')).toEqual(keys(1))
})

test('inside the fence any difference is drift, of rows carried and of rows touched since', async () => {
  const carried = sides([], [keys(1)], [[]])
  await expect(verifyTouched(carried, keys(1))).rejects.toMatchObject({ code: 'DRIFT_FOUND' })
  expect(await verifyTouched(sides([], [[]], [keys(2)]), keys(1))).toEqual({ keys: 2 })
})
