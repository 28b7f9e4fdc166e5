import { expect, test } from 'vitest'
import { nearest } from './nearest.ts'

test.each([
  ['ulr', ['kind', 'url'], 'url'],
  ['tabels', ['http', 'tables', 'routes'], 'tables'],
  ['Users', ['users', 'orders'], 'users'],
  ['user', ['orders', 'users'], 'users'],
  ['a', ['b', 'ab'], 'b'],
  ['completely', ['http', 'tables'], undefined],
  ['', ['http'], undefined],
  ['url', [], undefined],
])('the nearest to %j of %j is %j', (word, candidates, expected) => {
  expect(nearest(word, candidates)).toBe(expected)
})
