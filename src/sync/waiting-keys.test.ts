import { expect, test } from 'vitest'
import { insert, int8, keyColumnsOf, relationOf, transaction, update } from '../../test/support/changes.ts'
import { nameOf } from './family.ts'
import type { Pending } from './queue.ts'
import { WaitingKeys } from './waiting-keys.ts'

const users = relationOf(1, 'users', ['id:int8*'])
const name = (id: number): string => nameOf({ relation: users, key: [int8(id)] })

test('names what a queue speaks of, as it grows at its end and shrinks at its front', () => {
  const keys = new WaitingKeys(keyColumnsOf)
  const pending = (at: number, ...ids: number[]): Pending => ({
    transaction: transaction(
      at,
      ids.map((id) => insert(users, [int8(id)])),
    ),
    receivedAt: 0,
  })
  const [a, b, c] = [pending(1, 1, 2), pending(2, 2, 3), pending(3, 4)]
  const moved: Pending = { transaction: transaction(4, [update(users, [int8(6)], [int8(5)])]), receivedAt: 0 }
  const seen = (queue: readonly Pending[]): number[] => {
    const waiting = keys.of(queue)
    return [1, 2, 3, 4, 5, 6].filter((id) => waiting.has(name(id)))
  }
  expect(seen([])).toEqual([])
  expect(seen([a, b])).toEqual([1, 2, 3])
  expect(seen([a, b])).toEqual([1, 2, 3])
  expect(seen([b, c])).toEqual([2, 3, 4])
  expect(seen([c, moved])).toEqual([4, 5, 6])
  // everything left, and others came
  expect(seen([a])).toEqual([1, 2])
  expect(seen([])).toEqual([])
})
