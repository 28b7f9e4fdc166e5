import { expect, test } from 'vitest'
import { Streaks } from './streaks.ts'

test('an outage is told once, however long; another one again, kind by kind', () => {
  const streaks = new Streaks(3)
  const fail = (times: number, kind = 'a') => Array.from({ length: times }, () => streaks.fail(kind))
  expect(fail(5)).toEqual([false, false, true, false, false])
  expect(fail(2, 'b')).toEqual([false, false])
  streaks.succeed('a')
  expect(fail(3)).toEqual([false, false, true])
  expect(fail(1, 'b')).toEqual([true])
})
