import { expect, test } from 'vitest'
import { type Orders, Throttle } from './pace.ts'

const FREE: Orders = { paused: false, rate: null, sessions: null, hurry: false }
function throttle(orders: Partial<Orders>): Throttle {
  const made = new Throttle()
  made.obey(0, { ...FREE, ...orders })
  return made
}

test('without orders nothing waits', () => {
  const free = throttle({})
  free.wrote(0, 1e9)
  expect([free.wait(0), free.reason(0)]).toEqual([0, null])
})

test('paused is neither fast nor slow, whatever the slot keeps', () => {
  expect(throttle({ paused: true, hurry: true }).wait(0)).toBe('paused')
})

test('bytes beyond the rate are paid for by waiting; a new rate forgets them', () => {
  const slow = throttle({ rate: 1_024 })
  expect(slow.wait(0)).toBe(0)
  slow.wrote(0, 4_096)
  expect([slow.wait(1_000), slow.reason(1_000)]).toEqual([3_000, '1.0 KiB a second at most'])
  expect(slow.wait(4_000)).toBe(0)
  expect(slow.reason(10_000)).toBeNull()
  slow.wrote(4_000, 4_096)
  slow.obey(4_000, { ...FREE, rate: 2_048 })
  expect(slow.wait(4_000)).toBe(0)
})

test('a busy monolith gets a batch a second', () => {
  const busy = throttle({ sessions: { active: 41, limit: 40 } })
  expect(busy.wait(0)).toBe(0)
  busy.wrote(0, 1)
  expect([busy.wait(400), busy.reason(400)]).toEqual([600, '41 statements at work in the monolith, over 40'])
  expect(busy.wait(1_000)).toBe(0)
  expect(throttle({ sessions: { active: 40, limit: 40 } }).wait(0)).toBe(0)
})

test('a slot that fills comes first', () => {
  const hurried = throttle({ rate: 1, sessions: { active: 9, limit: 1 }, hurry: true })
  hurried.wrote(0, 1e6)
  expect([hurried.wait(1), hurried.reason(1)]).toEqual([0, null])
})
