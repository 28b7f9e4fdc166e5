import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextAttempt } from './next-attempt.ts'

const least = 50

test('the first try starts at once and leaves half of the time for another', () => {
  expect(nextAttempt({ left: 800, failed: 0, least, random: 0.9 })).toEqual({ wait: 0, limit: 400 })
})

test('the wait doubles, with full jitter, up to eight times the least', () => {
  const longest = [1, 2, 3, 4, 5, 6, 9].map((failed) => nextAttempt({ left: 10_000, failed, least, random: 1 })?.wait)
  expect(longest).toEqual([25, 50, 100, 200, 400, 400, 400])
  expect(nextAttempt({ left: 800, failed: 3, least, random: 0 })?.wait).toBe(0)
})

test('the last try has all that is left', () => {
  expect(nextAttempt({ left: 199, failed: 2, least, random: 0 })).toEqual({ wait: 0, limit: 199 })
  expect(nextAttempt({ left: 49, failed: 0, least, random: 0 })).toBeNull()
})

test('no try starts that cannot end inside the deadline', () => {
  const facts = fc.record({
    left: fc.double({ min: -100, max: 2_000, noNaN: true }),
    failed: fc.nat(20),
    random: fc.double({ min: 0, max: 0.999, noNaN: true }),
  })
  fc.assert(
    fc.property(facts, (given) => {
      const next = nextAttempt({ ...given, least })
      if (next === null) return given.left < least
      return next.wait >= 0 && next.limit >= least && next.wait + next.limit <= given.left + 1e-9
    }),
  )
})
