import { expect, test } from 'vitest'
import { asLsn } from '../model/lsn.ts'
import { LagClock } from './lag-clock.ts'

test('lag is the age of the newest end of the log that is applied', () => {
  const clock = new LagClock()
  for (let second = 0; second <= 10; second++) clock.sample(second * 1_000, asLsn(BigInt(100 + second)))
  expect(clock.lagSeconds(10_500, asLsn(110n))).toBe(0.5)
  expect(clock.lagSeconds(20_000, asLsn(110n))).toBe(10)
})

test('what was applied before the first look is not known, but for what an earlier worker has left', () => {
  const clock = new LagClock()
  clock.sample(1_000, asLsn(100n))
  expect(clock.lagSeconds(2_000, asLsn(99n))).toBeNull()
  clock.begin(-60_000, asLsn(99n))
  expect(clock.lagSeconds(2_000, asLsn(99n))).toBe(62)
  expect(clock.lagSeconds(2_000, asLsn(100n))).toBe(1)
})

test('hours of lag need little memory, and are told to some seconds', () => {
  const clock = new LagClock()
  for (let second = 0; second <= 36_000; second++) clock.sample(second * 1_000, asLsn(BigInt(second)))
  const lag = clock.lagSeconds(36_000_000, asLsn(18_000n)) ?? 0
  expect(Math.abs(lag - 18_000)).toBeLessThan(60)
  expect(clock.lagSeconds(36_000_000, asLsn(36_000n))).toBe(0)
})

test('the growth of the log is that of the last minute, once some seconds are known', () => {
  const clock = new LagClock()
  clock.sample(0, asLsn(0n))
  clock.sample(3_000, asLsn(3_000n))
  expect(clock.walRate).toBeNull()
  clock.sample(10_000, asLsn(20_000n))
  expect(clock.walRate).toBe(2_000)
  for (let second = 11; second <= 90; second++) clock.sample(second * 1_000, asLsn(20_000n))
  expect(clock.walRate).toBe(0)
})
