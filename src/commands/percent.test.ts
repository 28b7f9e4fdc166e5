import { expect, test } from 'vitest'
import { percentOf } from './percent.ts'

test.each([
  ['0', 0],
  ['25', 25],
  ['0.125', 0.125],
  ['100', 100],
  ['100.000', 100],
])('%s', (text, percent) => {
  expect(percentOf(text)).toBe(percent)
})

test.each(['101', '-1', 'abc', '', ' ', '1e2', '0x10', 'NaN', 'Infinity', ' 5', '25.5555', '100.001', '25,5', '٥'])(
  '%j is not a percentage',
  (text) => {
    expect(() => percentOf(text)).toThrow(`"${text}" is not a percentage`)
  },
)
