import { expect, test } from 'vitest'
import { asLsn } from '../model/lsn.ts'
import { Retention, retentionLimit } from './retention.ts'

const LIMIT = 1_000

/** A look each second: bytes that the slot keeps, and how far its target is behind. When is it given up? */
function secondOfEnd(looks: readonly { bytes: number; lag: number }[]): number | null {
  const retention = new Retention()
  for (const [second, { bytes, lag }] of looks.entries()) {
    const walEnd = asLsn(1_000_000n)
    const confirmed = asLsn(walEnd - BigInt(lag))
    if (retention.isBeyond({ at: second * 1_000, bytes, confirmed, walEnd }, LIMIT)) return second
  }
  return null
}
const looks = (count: number, of: (second: number) => { bytes: number; lag: number }) =>
  Array.from({ length: count }, (_, second) => of(second))

test('a target that stands still over the limit has 15 s, far over it 3 s', () => {
  expect(secondOfEnd(looks(60, () => ({ bytes: 1_100, lag: 1_100 })))).toBe(15)
  expect(secondOfEnd(looks(60, () => ({ bytes: 1_600, lag: 1_600 })))).toBe(3)
})

test('one that falls further behind while it moves is given up too', () => {
  expect(secondOfEnd(looks(60, (second) => ({ bytes: 1_100 + second, lag: 1_100 + second })))).toBe(15)
})

test.each([
  ['under the limit', looks(60, () => ({ bytes: 999, lag: 999 }))],
  ['that catches up', looks(60, (second) => ({ bytes: 1_400 - second, lag: 1_400 - second }))],
  ['that has everything, while a long transaction holds the log', looks(60, () => ({ bytes: 9_000, lag: 10 }))],
  ['that was over it for a moment', looks(60, (second) => ({ bytes: second < 10 ? 1_400 : 100, lag: 1_400 }))],
])('a target is left alone %s', (_, given) => {
  expect(secondOfEnd(given)).toBeNull()
})

test('the limit is a share of the cap, or a size where there is none', () => {
  expect(retentionLimit(4_000, { detachRatio: 0.5, detachBytes: 7 })).toBe(2_000)
  expect(retentionLimit(null, { detachRatio: 0.5, detachBytes: 7 })).toBe(7)
})
