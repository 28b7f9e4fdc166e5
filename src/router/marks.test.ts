import fc from 'fast-check'
import { expect, test } from 'vitest'
import { asLsn, type Lsn } from '../model/lsn.ts'
import { appliedEverywhere, type MarkedWrite, Marks } from './marks.ts'

const counters = () => ({ marksFolded: 0 })
const at = (value: number): Lsn => asLsn(BigInt(value))

test('a mark is pending from before the write until its position is known', () => {
  const marks = new Marks(10, counters())
  const first = marks.begin(['header:x-user-id=1', '/users/1'])
  expect(marks.newest(['/users/1'])).toBe('pending')
  const second = marks.begin(['/users/1'])
  marks.end(second, at(20))
  expect(marks.newest(['/users/1'])).toBe('pending')
  marks.end(first, at(10))
  expect(marks.newest(['/users/1', 'header:x-user-id=1'])).toBe(20n)
  expect(marks.newest(['header:x-user-id=1'])).toBe(10n)
  expect(marks.newest(['/users/2'])).toBe(null)
})

test('a mark without a position stays pending until it gets one', () => {
  const marks = new Marks(10, counters())
  marks.end(marks.begin(['a']), null)
  expect(marks.newest(['a'])).toBe('pending')
  for (const write of marks.takeUnsampled()) marks.end(write, at(5))
  expect(marks.newest(['a'])).toBe(5n)
  expect(marks.takeUnsampled()).toEqual([])
})

test('marks that every service has reached are dropped, pending ones are not', () => {
  const marks = new Marks(10, counters())
  marks.end(marks.begin(['a']), at(5))
  marks.begin(['b'])
  marks.end(marks.begin(['c']), at(9))
  marks.drop('nothing')
  expect(marks.size).toBe(3)
  marks.drop(at(8))
  expect([marks.newest(['a']), marks.newest(['b']), marks.newest(['c'])]).toEqual([null, 'pending', 9n])
  marks.drop('everything')
  expect(marks.size).toBe(1)
})

test('beyond the bound nothing is forgotten: old marks come to count for everybody', () => {
  const count = counters()
  const marks = new Marks(3, count)
  for (let user = 1; user <= 5; user++) marks.end(marks.begin([`/users/${user}`]), at(user))
  expect(marks.size).toBe(3)
  expect(count.marksFolded).toBe(2)
  expect(marks.newest(['/users/99'])).toBe(2n)
  for (let user = 10; user < 13; user++) marks.begin([`/users/${user}`])
  const overflow = marks.begin(['/users/14'])
  expect(marks.newest(['/users/99'])).toBe('pending')
  marks.end(overflow, at(30))
  expect(marks.newest(['/users/99'])).toBe(30n)
})

test('whatever is written, answered and dropped: no key ever looks newer to a reader than it is', () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    act: fc.constantFrom('begin' as const, 'end' as const, 'fail' as const, 'drop' as const),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (steps, limit) => {
      const marks = new Marks(limit, counters())
      const truth = new Map<string, number>()
      const running: { key: string; write: MarkedWrite }[] = []
      const lost = new Set<string>()
      let position = 0
      for (const { key, act } of steps) {
        position++
        if (act === 'begin') running.push({ key, write: marks.begin([key]) })
        const ending = act === 'end' || act === 'fail' ? running.shift() : undefined
        if (ending !== undefined && act === 'end') {
          marks.end(ending.write, at(position))
          truth.set(ending.key, position)
        } else if (ending !== undefined) {
          marks.end(ending.write, null)
          lost.add(ending.key)
        }
        const applied = Math.floor(position / 2)
        if (act === 'drop') marks.drop(at(applied))
        for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
          const newest = marks.newest([name])
          if (running.some((one) => one.key === name) || lost.has(name)) expect(newest).toBe('pending')
          else if (newest !== 'pending' && (truth.get(name) ?? 0) > applied) {
            expect(Number(newest ?? 0n)).toBeGreaterThanOrEqual(truth.get(name) as number)
          }
        }
      }
    }),
    { numRuns: 2_000 },
  )
})

test('only services whose reads may be split hold marks back', () => {
  const free = { fence: 'open', fenceRun: 0, hold: null, legs: false, halted: [] } as const
  const base = { service: '', percent: 0, version: 1, ...free } as const
  const monolith = { side: 'monolith', epoch: 1 } as const
  const set = (...services: [stage: 'off' | 'sync' | 'route' | 'live', applied: number | null][]) => ({
    version: 1,
    laggards: 0,
    services: new Map(
      services.map(([stage, applied], index) => [
        String(index),
        { ...base, authority: monolith, stage, applied: applied === null ? null : at(applied) },
      ]),
    ),
  })
  expect(appliedEverywhere(set(['off', null], ['live', null]))).toBe('everything')
  expect(appliedEverywhere(set(['route', 7], ['sync', 5], ['live', 1]))).toBe(5n)
  expect(appliedEverywhere(set(['route', 7], ['sync', null]))).toBe('nothing')
})
