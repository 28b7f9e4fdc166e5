import fc from 'fast-check'
import { expect, test } from 'vitest'
import { differingBuckets, differingKeys, groupBuckets } from './merge.ts'
import type { Bucket } from './ports.ts'

const side = fc.dictionary(fc.constantFrom('a', 'b', 'c,d', 'c'), fc.constantFrom('1', '2'))
const buckets = fc.uniqueArray(fc.record({ bucket: fc.nat(5), rows: fc.nat(3), sum: fc.constantFrom('1', '2') }), {
  selector: ({ bucket }) => bucket,
})

test('the keys that differ are those of a plain comparison, each once', () => {
  fc.assert(
    fc.property(side, side, (left, right) => {
      const rows = (of: Record<string, string>) => Object.entries(of).map(([key, hash]) => ({ key: [key], hash }))
      const wanted = [...new Set([...Object.keys(left), ...Object.keys(right)])].filter(
        (key) => left[key] !== right[key],
      )
      const found = differingKeys(rows(left), rows(right)).map(([key]) => String(key))
      expect(found.toSorted()).toEqual(wanted.toSorted())
    }),
  )
})

test('a bucket differs when count or sum does, or when one side has none', () => {
  fc.assert(
    fc.property(buckets, buckets, (left, right) => {
      const text = (all: Bucket[], at: number) => JSON.stringify(all.find(({ bucket }) => bucket === at))
      const wanted = [0, 1, 2, 3, 4, 5].filter((at) => text(left, at) !== text(right, at))
      expect(
        differingBuckets(left, right)
          .map(({ bucket }) => bucket)
          .toSorted((a, b) => a - b),
      ).toEqual(wanted)
    }),
  )
})

test('groups keep every bucket once, and are small unless one bucket is large', () => {
  fc.assert(
    fc.property(buckets, fc.integer({ min: 1, max: 4 }), (all, rows) => {
      const groups = groupBuckets(all, rows)
      expect(groups.flat()).toEqual(all.map(({ bucket }) => bucket))
      for (const group of groups) {
        const held = group.map((at) => all.find(({ bucket }) => bucket === at)?.rows ?? 0)
        expect(group.length === 1 || held.reduce((sum, count) => sum + count, 0) <= rows).toBe(true)
      }
    }),
  )
})
