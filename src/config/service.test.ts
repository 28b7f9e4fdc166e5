import { expect, test } from 'vitest'
import type { Config } from './schema.ts'
import { serviceOf } from './service.ts'

const config = { services: { users: { http: 'http://h:1' }, orders: {} } } as unknown as Config

test('gives the configuration of a service', () => {
  expect(serviceOf(config, 'users')).toBe(config.services['users'])
})

test.each([
  ['user', 'there is no service "user" in the configuration. Did you mean "users"?'],
  ['toString', 'there is no service "toString" in the configuration'],
])('names the services there are for %s', (name, message) => {
  const error = expect.objectContaining({ code: 'SERVICE_UNKNOWN', exit: 2, message, hint: 'Services: users, orders.' })
  expect(() => serviceOf(config, name)).toThrow(error)
})
