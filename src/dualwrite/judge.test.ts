import { expect, test } from 'vitest'
import { judge } from './judge.ts'

test.each([
  ['applied', 200, '7', 'equal'],
  ['applied', 204, null, 'equal'],
  ['replayed', 201, '7', 'equal'],
  [null, 201, '7', 'equal'],
  ['applied', 200, '8', 'id-not-kept'],
  [null, 200, '8', 'id-not-kept'],
  ['applied', 422, '8', 'different'],
  ['applied', 500, null, 'different'],
  ['revoked', 409, null, 'revoked'],
  ['refused', 409, null, 'revoked'],
] as const)('%s with %i and id %s is %s', (leg, status, id, verdict) => {
  expect(judge({ leg, status, id }, { status: 201, id: '7' })).toBe(verdict)
})

test('no id is compared where the monolith has named none', () => {
  expect(judge({ leg: 'applied', status: 200, id: '8' }, { status: 200, id: null })).toBe('equal')
})
