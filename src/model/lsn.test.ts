import fc from 'fast-check'
import { expect, test } from 'vitest'
import { asLsn, formatLsn, parseLsn } from './lsn.ts'

test.each([
  ['0/0', 0n],
  ['16/B374D848', 0x16_b374d848n],
  ['FFFFFFFF/FFFFFFFF', 0xffff_ffff_ffff_ffffn],
  ['0/18f2720', 0x18f2720n],
  ['00000000/018F28A8', 0x18f28a8n],
])('reads %s', (text, value) => {
  expect(parseLsn(text)).toBe(value)
})

test('reads what it prints, for every 64-bit position, in the order of the positions', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      expect(parseLsn(formatLsn(asLsn(value)))).toBe(value)
    }),
  )
})

test('prints as PostgreSQL does: upper case, no leading zeros', () => {
  expect(formatLsn(asLsn(0x16_00abcdefn))).toBe('16/ABCDEF')
})

test.each([[''], ['0'], ['0/'], ['/0'], ['0/123456789'], ['g/0'], ['0/0 '], ['-1/0']])('refuses %j', (text) => {
  expect(() => parseLsn(text)).toThrow(RangeError)
})
