import { expect, test } from 'vitest'
import { applicationName } from './checkpoint.ts'

test('sessions of a pipeline are called after it', () => {
  expect(applicationName('shop_users/forward')).toBe('migrate/shop_users/forward')
})

test('long names stay different, and leave room for what a session adds', () => {
  const base = 'a_project_with_a_long_name_and_a_service_too'
  const names = [`${base}/forward`, `${base}/reverse`, `${base}_2/forward`, `${'ü'.repeat(40)}/forward`].map(
    applicationName,
  )
  expect(new Set(names).size).toBe(4)
  for (const name of names) {
    // PostgreSQL cuts at 63 bytes and replaces what is not ASCII
    expect(Buffer.byteLength(`${name}/1234567890`)).toBeLessThanOrEqual(63)
    expect(name).toMatch(/^migrate\/[ -~]+$/)
  }
})
