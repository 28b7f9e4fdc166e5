import { expect, test } from 'vitest'
import type { RetryPolicy } from './definition.ts'
import { retryIn } from './policy.ts'
import { type Progress } from './state.ts'

const tried = (attempts: number): Progress => ({
  ...{ state: 'intent', attempts, doubtful: true, probing: false, since: 0, asked: 0, retryAt: 0 },
  ...{ result: undefined, unchecked: false, error: null },
})
const wait = (attempts: number, retry?: RetryPolicy) =>
  retryIn({ kind: 'retriable', ...(retry && { retry }) }, 'execute', tried(attempts), {
    now: 0,
    error: new Error('no'),
  })

test.each([
  [1, 100, 200],
  [2, 200, 400],
  [20, 15_000, 30_000],
  [99, 15_000, 30_000],
  [100, 150_000, 300_000],
  [5_000, 150_000, 300_000],
])('after %i tries it waits between %i and %i ms', (attempts, least, most) => {
  const waits = Array.from({ length: 50 }, () => wait(attempts) ?? Number.NaN)
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(least)
  expect(Math.max(...waits)).toBeLessThanOrEqual(most)
  // not all together
  expect(new Set(waits).size).toBeGreaterThan(10)
})

test('what its policy says holds for ever', () => {
  expect(wait(5_000, { first: 1, longest: 50 })).toBeLessThanOrEqual(50)
  expect(wait(5_000, { attempts: 5_000 })).toBeNull()
})
