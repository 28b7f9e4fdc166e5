import { expect, test } from 'vitest'
import { uuidv7 } from './key.ts'

test('the example of RFC 9562, appendix A.6', () => {
  const random = Buffer.from('0cc318c4dc0c0c07398f', 'hex')
  expect(uuidv7(0x017f22e279b0, random)).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
})

test('keys sort by their time, and are unique within a millisecond', () => {
  const keys = Array.from({ length: 1_000 }, (_, index) => uuidv7(1_700_000_000_000 + index + 0.7))
  expect([...keys].sort()).toEqual(keys)
  expect(keys[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(new Set(Array.from({ length: 1_000 }, () => uuidv7(1)))).toHaveProperty('size', 1_000)
})
