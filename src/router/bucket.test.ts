import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BUCKETS, bucketOf, inside, SEED } from './bucket.ts'

// The algorithm once more, from its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), over bytes.
function xxh32(bytes: Buffer, seed: number): number {
  const [p1, p2, p3, p4, p5] = [2654435761, 2246822519, 3266489917, 668265263, 374761393] as const
  const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by))
  const round = (lane: number, word: number): number => Math.imul(rotate((lane + Math.imul(word, p2)) | 0, 13), p1)
  let at = 0
  let hash = (seed + p5) | 0
  if (bytes.length >= 16) {
    const lanes = [seed + p1 + p2, seed + p2, seed, seed - p1].map((lane) => lane | 0)
    for (; at + 16 <= bytes.length; at += 16) {
      for (let lane = 0; lane < 4; lane++) lanes[lane] = round(lanes[lane] as number, bytes.readInt32LE(at + 4 * lane))
    }
    hash = [1, 7, 12, 18].reduce((sum, by, lane) => (sum + rotate(lanes[lane] as number, by)) | 0, 0)
  }
  hash = (hash + bytes.length) | 0
  for (; at + 4 <= bytes.length; at += 4) {
    hash = Math.imul(rotate((hash + Math.imul(bytes.readInt32LE(at), p3)) | 0, 17), p4)
  }
  for (; at < bytes.length; at++) hash = Math.imul(rotate((hash + Math.imul(bytes[at] as number, p5)) | 0, 11), p1)
  hash = Math.imul(hash ^ (hash >>> 15), p2)
  hash = Math.imul(hash ^ (hash >>> 13), p3)
  return (hash ^ (hash >>> 16)) >>> 0
}

test('the second implementation gives the published vectors', () => {
  expect(xxh32(Buffer.from(''), 0)).toBe(0x02cc5d05)
  expect(xxh32(Buffer.from('abc'), 0)).toBe(0x32d153ff)
})

test('golden buckets stay what they are', () => {
  const golden = { '1': 23072, '42': 68596, 'user-7': 76012, '7f3c1b6e-5c1d-4b71-9d0e-1f2a3b4c5d6e': 79752 }
  expect(Object.fromEntries(Object.keys(golden).map((key) => [key, bucketOf(key)]))).toEqual(golden)
})

test('the bucket is xxh32 of the bytes on the wire, also of those beyond ASCII', () => {
  const latin1 = fc.uint8Array({ minLength: 1, maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
  fc.assert(
    fc.property(latin1, (key) => {
      expect(bucketOf(key)).toBe(xxh32(Buffer.from(key, 'latin1'), SEED) % BUCKETS)
    }),
    { numRuns: 2_000 },
  )
})

test('a key that is inside stays inside as the percentage grows', () => {
  const percent = fc.integer({ min: 0, max: 100_000 }).map((thousandths) => thousandths / 1_000)
  fc.assert(
    fc.property(fc.string(), percent, percent, (key, one, other) => {
      const bucket = bucketOf(key)
      if (inside(bucket, Math.min(one, other))) expect(inside(bucket, Math.max(one, other))).toBe(true)
    }),
    { numRuns: 5_000 },
  )
})

test('the share of 100,000 users is the percentage, to three decimals of it', () => {
  const buckets = Array.from({ length: 100_000 }, (_, user) => bucketOf(String(user)))
  for (const percent of [0.1, 1, 25, 33.333, 50, 99.9]) {
    const share = (buckets.filter((bucket) => inside(bucket, percent)).length / buckets.length) * 100
    expect(Math.abs(share - percent)).toBeLessThan(0.3)
  }
  expect(buckets.some((bucket) => inside(bucket, 0))).toBe(false)
  expect(buckets.every((bucket) => inside(bucket, 100))).toBe(true)
  expect([inside(28, 0.029), inside(29, 0.029)]).toEqual([true, false])
})
