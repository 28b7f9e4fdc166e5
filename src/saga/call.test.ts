import { expect, it } from 'vitest'
import { storable } from './call.ts'

it.each([
  [5n, 'is not JSON: Do not know how to serialize a BigInt'],
  [() => 1, 'is not JSON'],
  ['\u0000', 'has characters that jsonb does not take'],
  ['x'.repeat(64 * 1024 * 1024), 'is larger than 64 MiB: keep it elsewhere'],
])('says of a result that cannot be kept why: %#', (result, reason) => {
  expect(() => storable(result)).toThrow(`the result of the step ${reason}`)
})
