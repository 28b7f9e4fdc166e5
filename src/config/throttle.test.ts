import { expect, test } from 'vitest'
import { configSchema } from './schema.ts'

const shop = (more: object, service: object = {}, name = 'users') =>
  configSchema.safeParse({
    project: 'shop',
    monolith: { database: 'postgres://u@localhost/shop', http: 'http://127.0.0.1:3000' },
    services: {
      [name]: {
        ...{ http: 'http://127.0.0.1:3001', tables: ['users'] },
        stores: [{ kind: 'postgres', url: 'postgres://u@localhost/users' }],
        ...service,
      },
    },
    ...more,
  })

test.each([
  ['512KiB', 512 * 1024],
  ['5MiB', 5 * 1024 ** 2],
  ['1.5 GiB', 1.5 * 1024 ** 3],
])('takes %s as a size', (rate, bytes) => {
  expect(shop({ throttle: { rate } }).data?.throttle.rate).toBe(bytes)
})

test.each([
  [{ throttle: { rate: '5MB' } }, 'must be a size'],
  [{ throttle: { monolithSessions: 0 } }, 'must be a whole number from 1'],
])('refuses %j', (more, message) => {
  expect(shop(more).error?.issues[0]?.message).toContain(message)
})

test.each([0, 0.95, 'half'])('a slot is not given up at %j of its cap', (detachRatio) => {
  expect(shop({}, { slot: { detachRatio } }).error?.issues[0]?.message).toBe('must be a number from 0.1 to 0.9')
})

test('refuses a service whose name is a command', () => {
  expect(shop({}, {}, 'ctl').error?.issues[0]?.message).toBe('is the name of a command')
})
