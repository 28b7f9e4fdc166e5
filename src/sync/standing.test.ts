import { afterEach, expect, test, vi } from 'vitest'
import { int8, relationOf } from '../../test/support/changes.ts'
import { asLsn, ZERO_LSN } from '../model/lsn.ts'
import { keyName } from './converge.ts'
import type { RowWrite } from './ports.ts'
import { Standing } from './standing.ts'

const users = relationOf(1, 'users', ['id:int8*', 'bio:text'])
const write = (id: number): RowWrite => ({ relation: users, op: 'update', key: [int8(id)], row: [] })
const checkpoint = { epoch: 1, state: 'apply', commitLsn: ZERO_LSN, hold: true, graceMs: 0 } as const
const standing = () => new Standing({ ...checkpoint, tracking: null, authorityEpoch: null, token: null })
afterEach(() => vi.useRealTimers())

test('keys that are behind hold the applied position back, the lowest of them wins', () => {
  const now = standing()
  const owed = [7n, 5n, 9n].map((lsn, i) => [keyName(write(i)), { since: 0, lsn: asLsn(lsn) }] as const)
  now.settle(new Map(owed), [], ZERO_LSN)
  expect(now.appliedOf(asLsn(20n))).toBe(4n)
  expect(now.appliedOf(asLsn(3n))).toBe(3n)
})

test('a row that was not found is owed until a later write finds it', () => {
  const now = standing()
  now.settle(new Map(), [write(1)], asLsn(10n))
  expect(now.appliedOf(asLsn(20n))).toBe(9n)
  now.settle(now.skipped, [write(1)], asLsn(15n))
  expect(now.appliedOf(asLsn(20n))).toBe(9n)
  now.settle(new Map(), [], asLsn(16n))
  expect(now.appliedOf(asLsn(20n))).toBe(20n)
})

test('a row that does not turn up in 10 s is an integrity stop; one that did is not', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const now = standing()
  now.settle(new Map(), [write(1), write(2)], asLsn(10n))
  vi.advanceTimersByTime(9_000)
  now.settle(new Map([...now.skipped].filter(([key]) => key !== keyName(write(2)))), [], asLsn(11n))
  now.throwIfMissing('users')
  vi.advanceTimersByTime(2_000)
  expect(() => now.throwIfMissing('users')).toThrow(
    expect.objectContaining({ code: 'ROW_MISSING', context: { table: 'public.users', role: 'users' } }),
  )
  now.settle(new Map(), [], asLsn(12n))
  now.throwIfMissing('users')
})
