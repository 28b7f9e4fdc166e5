import { expect, test } from 'vitest'
import { insert, int8, keyColumnsOf, relationOf, remove, transaction, update } from '../../test/support/changes.ts'
import { asLsn } from '../model/lsn.ts'
import { ExtraRows } from './extra-rows.ts'
import type { RowName } from './ports.ts'

// the two sides' streams number the same table differently
const theirs = relationOf(1, 'order_items', ['id:int8*', 'n'])
const ours = relationOf(2, 'order_items', ['id:int8*', 'n'])
const idOf = (row: RowName): number => Number((row.key[0] as Buffer).readBigInt64BE())

function scene(monolithHas: readonly number[]) {
  const has = new Set(monolithHas)
  let position = 100n
  const extra = new ExtraRows({
    lacking: async (rows) => rows.filter((row) => !has.has(idOf(row))),
    position: async () => asLsn(position++),
  })
  const removed: number[] = []
  const stop = new AbortController()
  let settled = false
  const settle = (...changes: Parameters<typeof transaction>[1]) =>
    extra.settle([transaction(7, changes)], keyColumnsOf, stop.signal).then(() => {
      settled = true
    })
  const forward = (at: number, waiting: readonly RowName[] = [], can = true) =>
    extra.removeDue(
      asLsn(BigInt(at)),
      () => waiting,
      async (rows) => {
        if (can) removed.push(...rows.map(idOf))
        return can
      },
    )
  /** The same, up to where it waits for the forward pipeline. */
  const waiting = async (...changes: Parameters<typeof transaction>[1]) => {
    const noted = new Promise<void>((resolve) => extra.onNews(resolve))
    const settling = settle(...changes)
    await noted
    return { settling }
  }
  return { has, extra, removed, stop, settle, waiting, forward, settled: () => settled }
}

test('rows that the monolith has too need nothing', async () => {
  const { settle, removed } = scene([1, 2])
  await settle(insert(theirs, [int8(1), null]), insert(theirs, [int8(2), null]))
  await settle(update(theirs, [int8(9), null]), remove(theirs, [int8(8)]))
  expect(removed).toEqual([])
})

test('a row that the monolith lacks is removed once the forward stream has passed what the monolith may have deleted', async () => {
  const { waiting, forward, removed, settled } = scene([1])
  const { settling } = await waiting(insert(theirs, [int8(1), null]), insert(theirs, [int8(5), null]))
  await forward(99)
  expect([removed, settled()]).toEqual([[], false])
  await forward(100)
  await settling
  expect(removed).toEqual([5])
})

test('the new key of a row that was moved counts, the old one does not', async () => {
  const { waiting, forward, removed } = scene([])
  const { settling } = await waiting(update(theirs, [int8(6), null], [int8(4), null]))
  await forward(100)
  await settling
  expect(removed).toEqual([6])
})

test('a row that a waiting change speaks of stays until that is written, and is asked for again then', async () => {
  const { waiting, forward, removed, has } = scene([])
  const { settling } = await waiting(insert(theirs, [int8(5), null]), insert(theirs, [int8(6), null]))
  await forward(100, [{ relation: ours, key: [int8(5)] }])
  expect(removed).toEqual([6])
  has.add(5)
  await forward(101)
  await settling
  expect(removed).toEqual([6])
})

test('what could not be written is tried again', async () => {
  const { waiting, forward, removed, settled } = scene([])
  const { settling } = await waiting(insert(theirs, [int8(5), null]))
  await forward(100, [], false)
  expect(settled()).toBe(false)
  await forward(100)
  await settling
  expect(removed).toEqual([5])
})

test('nobody waits for a forward pipeline that no longer writes, nor after an abort', async () => {
  const { settle, waiting, extra, stop, forward, removed } = scene([])
  const released = await waiting(insert(theirs, [int8(5), null]))
  extra.release()
  await released.settling
  const aborted = await waiting(insert(theirs, [int8(6), null]))
  stop.abort()
  await aborted.settling
  await settle(insert(theirs, [int8(7), null]))
  await forward(200)
  expect(removed).toEqual([])
})
