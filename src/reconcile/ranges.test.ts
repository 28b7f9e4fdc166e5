import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isMisshapen, rangeRowsFor, rangesBetween } from './ranges.ts'

const bounds = fc.uniqueArray(fc.integer({ min: -50, max: 50 })).map((all) => all.toSorted((a, b) => a - b))

test('ranges hold every key exactly once', () => {
  fc.assert(
    fc.property(bounds, fc.integer({ min: -60, max: 60 }), (all, key) => {
      const ranges = rangesBetween(all.map((bound) => [String(bound)]))
      const holding = ranges.filter(
        ({ lo, hi }) => (lo === null || key >= Number(lo[0])) && (hi === null || key < Number(hi[0])),
      )
      expect(holding).toHaveLength(1)
      expect([ranges[0]?.lo, ranges.at(-1)?.hi]).toEqual([null, null])
    }),
  )
})

test('wide rows make small ranges', () => {
  expect(rangeRowsFor({ bytes: 100e6, rows: 1e6 })).toBe(100_000)
  expect(rangeRowsFor({ bytes: 10e9, rows: 1e6 })).toBe(3_355)
  expect(rangeRowsFor({ bytes: 1e12, rows: 1e6 })).toBe(1_000)
  expect(rangeRowsFor({ bytes: 8_192, rows: 0 })).toBe(100_000)
  expect(rangeRowsFor({ bytes: 1e12, rows: 0 })).toBe(10_000)
})

test('ranges are cut anew when one has grown, or all have become small', () => {
  const of = (...rows: (number | null)[]) => rows.map((count) => ({ rows: count }))
  expect(isMisshapen(of(10, null, 20), 10)).toBe(false)
  expect(isMisshapen(of(10, null, 21), 10)).toBe(true)
  expect(isMisshapen(of(...Array.from({ length: 9 }, () => 1)), 10)).toBe(true)
  expect(isMisshapen(of(...Array.from({ length: 8 }, () => 1)), 10)).toBe(false)
})
