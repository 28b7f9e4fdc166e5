import { expect, test } from 'vitest'
import { MigrateError } from '../errors.ts'
import { compileRoutes } from './match.ts'
import { stickyKey } from './sticky.ts'

const services = [
  { name: 'users', http: '', routes: [{ path: '/users/:id/orders' }, { path: '/users/**', sticky: ['cookie:sid'] }] },
  { name: 'orders', http: '', routes: [{ path: '/orders/:id', sticky: ['header:X-User-Id', 'path:id'] }] },
  { name: 'images', http: '', routes: [{ path: '/*/images/**' }] },
]
const match = compileRoutes(services)

test.each([
  ['/users', '/users/**'],
  ['/users/', '/users/**'],
  ['/users/7', '/users/**'],
  ['/users/7/a/b', '/users/**'],
  ['/users/7/orders', '/users/:id/orders'],
  ['/users//7', '/users/**'],
  ['/%75sers/7', '/users/**'],
  ['/orders/7', '/orders/:id'],
  ['/orders/images/1', '/*/images/**'],
  ['/products/images/9', '/*/images/**'],
  ['/users2', ''],
  ['/orders', ''],
  ['/orders/7/lines', ''],
  ['/', ''],
])('%s is a path of "%s"', (path, route) => {
  expect(match(path)?.route.path ?? '').toBe(route)
})

test('the first source that is there gives the key', () => {
  const { route, segments } = match('/orders/7') as NonNullable<ReturnType<typeof match>>
  expect(stickyKey(route.sticky, ['X-USER-ID', '42'], segments)).toBe('42')
  expect(stickyKey(route.sticky, ['x-user-id', ''], segments)).toBe('7')
  const users = match('/users/1') as NonNullable<ReturnType<typeof match>>
  expect(stickyKey(users.route.sticky, ['cookie', 'asid=1; sid=abc; x=2'], users.segments)).toBe('abc')
  expect(stickyKey(users.route.sticky, ['cookie', 'asid=1; sid2=2'], users.segments)).toBe(null)
})

test.each([
  [{ path: 'users' }],
  [{ path: '/a/**/b' }],
  [{ path: '/a/:id', sticky: ['path:other'] }],
  [{ path: '/a', sticky: ['ip'] }],
  [{ path: '/a', sticky: ['header:'] }],
])('%j is refused', (route) => {
  expect(() => compileRoutes([{ name: 'a', http: '', routes: [route] }])).toThrow(MigrateError)
})
