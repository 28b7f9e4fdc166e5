import { expect, test } from 'vitest'
import { Streaks } from './streaks.ts'

test('an outage is told once, however long; another one again, kind by kind', () => {
  const streaks = new Streaks(3, 10)
  const fail = (times: readonly number[], kind = 'a') => times.map((now) => streaks.fail(kind, now))
  expect(fail([0, 5, 10, 15, 99])).toEqual([false, false, true, false, false])
  expect(fail([0, 99], 'b')).toEqual([false, false])
  streaks.succeed('a')
  expect(fail([100, 110, 111])).toEqual([false, false, true])
  expect(fail([100], 'b')).toEqual([true])
})

test('many failures within a short time are no streak yet', () => {
  const streaks = new Streaks(3, 10)
  expect([0, 1, 2, 9, 10].map((now) => streaks.fail('a', now))).toEqual([false, false, false, false, true])
})
