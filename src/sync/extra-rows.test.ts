import { expect, test } from 'vitest'
import { insert, int8, keyColumnsOf, relationOf, remove, transaction, update } from '../../test/support/changes.ts'
import { asLsn, type Lsn } from '../model/lsn.ts'
import { ExtraRows } from './extra-rows.ts'
import { nameOf } from './family.ts'
import type { RowName } from './ports.ts'

// the two sides' streams number the same tables differently
const theirs = relationOf(1, 'items', ['id:int8*', 'order_id:int8'])
const ours = relationOf(2, 'items', ['id:int8*', 'order_id:int8'])
const orders = relationOf(3, 'orders', ['id:int8*'])
const notes = relationOf(4, 'notes', ['id:int8*', 'item_id:int8'])
const KEYS = [
  { from: 'public.items', columns: ['order_id'], to: 'public.orders' },
  { from: 'public.notes', columns: ['item_id'], to: 'public.items' },
]
const item = (id: number): RowName => ({ relation: ours, key: [int8(id)] })
const idsOf = (rows: readonly RowName[]): number[] => rows.map(({ key }) => Number((key[0] as Buffer).readBigInt64BE()))
const none = (): Set<string> => new Set()
const at = (position: number): Lsn => asLsn(BigInt(position))

/** A monolith with these rows; what is announced is found lacking at positions 100, 101 … */
function scene(...monolithHas: number[]) {
  const has = new Set(monolithHas)
  let position = 100
  let settled = 0
  let news = 0
  const extra = new ExtraRows({
    lacking: async (rows) => rows.filter((row) => !has.has(idsOf([row])[0] as number)),
    position: async () => at(position++),
    foreignKeys: async () => KEYS,
  })
  extra.startReverse(() => settled++)
  extra.startForward(() => news++)
  let commit = 10
  const made = async (...changes: Parameters<typeof transaction>[1]): Promise<Lsn> => {
    const one = transaction(commit++, changes)
    await extra.announce([one], keyColumnsOf)
    return one.commitLsn
  }
  return { has, extra, made, settled: () => settled, news: () => news }
}

test('rows that the monolith has too need nothing, and neither do rows that were changed or deleted', async () => {
  const { extra, made, news } = scene(1, 2)
  const lsn = await made(insert(theirs, [int8(1), int8(7)]), insert(theirs, [int8(2), int8(7)]))
  await made(update(theirs, [int8(9), null]), remove(theirs, [int8(8)]))
  expect([extra.isEmpty, extra.isWaiting(lsn), news()]).toEqual([true, false, 0])
})

test('a row that the monolith lacks is due once forward has passed what the monolith may have deleted', async () => {
  const { extra, made, settled, news } = scene(1)
  const lsn = await made(insert(theirs, [int8(1), null]), insert(theirs, [int8(5), null]))
  expect([extra.isWaiting(lsn), news()]).toEqual([true, 1])
  expect(await extra.dueAt(at(99), none)).toEqual([])
  const due = await extra.dueAt(at(100), none)
  expect([idsOf(due), extra.isWaiting(lsn)]).toEqual([[5], true])
  extra.removed(due)
  expect([extra.isEmpty, extra.isWaiting(lsn), settled()]).toEqual([true, false, 1])
})

test('it goes with what the monolith has made of the same parent, and its own children with it', async () => {
  const { extra, made } = scene()
  await made(insert(notes, [int8(6), int8(5)]), insert(theirs, [int8(5), int8(7)]), insert(theirs, [int8(8), int8(9)]))
  const order = { name: { relation: orders, key: [int8(7)] }, row: [int8(7)] }
  const child = { name: item(1), row: [int8(1), int8(7)] }
  for (const written of [order, child]) {
    expect(new Set(idsOf(await extra.dueWith([written], at(100), none)))).toEqual(new Set([5, 6]))
  }
  const gone = { name: { relation: orders, key: [int8(7)] }, row: [] }
  expect(new Set(idsOf(await extra.dueWith([gone], at(100), none)))).toEqual(new Set([5, 6]))
  // forward has not heard of all that the monolith had done by then: a delete of the row may be among it
  expect(await extra.dueWith([order], at(99), none)).toEqual([])
})

test('the new key of a row that was moved counts, the old one does not', async () => {
  const { extra, made } = scene()
  await made(update(theirs, [int8(6), null], [int8(4), null]))
  expect(idsOf(await extra.dueAt(at(100), none))).toEqual([6])
})

test('a row that a waiting change speaks of stays until that is written, and is asked for again then', async () => {
  const { extra, made, has } = scene()
  await made(insert(theirs, [int8(5), null]), insert(theirs, [int8(6), null]))
  expect(idsOf(await extra.dueAt(at(100), () => new Set([nameOf(item(5))])))).toEqual([6])
  has.add(5)
  expect(idsOf(await extra.dueAt(at(101), none))).toEqual([6])
})

test('nobody waits where the service has the authority, from that position on', async () => {
  const { extra, made, settled } = scene()
  const lsn = await made(insert(theirs, [int8(5), null]))
  extra.release(at(99))
  expect(extra.isWaiting(lsn)).toBe(true)
  extra.release(at(100))
  expect([extra.isWaiting(lsn), settled()]).toEqual([false, 1])
})

test('reverse announces anew what its checkpoint has not passed', async () => {
  const { extra, made } = scene()
  const lsn = await made(insert(theirs, [int8(5), null]))
  extra.startReverse(() => undefined)
  expect(extra.isWaiting(lsn)).toBe(false)
})
