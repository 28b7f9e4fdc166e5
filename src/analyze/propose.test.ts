import { describe, expect, test } from 'vitest'
import { propose, proposeNamed } from './propose.ts'
import { serviceName } from './service-name.ts'
import type { Survey, SurveyTable } from './survey.ts'

describe('propose', () => {
  test('finds the services of the shop', () => {
    const survey = surveyOf(
      'users user_preferences products product_images product_variants coupons# orders order_items payments inventory# inventory_transactions audit_log',
      [
        'user_preferences > users cascade',
        'product_images > products cascade',
        'product_variants > products cascade',
        'orders > users',
        'orders > coupons',
        'order_items > orders cascade',
        'order_items > products',
        'payments > orders',
        'payments > users',
        'inventory > products',
        'inventory_transactions > products',
        'inventory_transactions > orders',
      ],
    )
    expect(namesOf(survey)).toEqual({
      users: ['users', 'user_preferences'],
      products: ['products', 'product_images', 'product_variants'],
      orders: ['orders', 'coupons', 'order_items'],
      payments: ['payments'],
      inventory: ['inventory', 'inventory_transactions'],
    })
    expect(propose(survey).staying.map(({ name }) => name)).toEqual(['audit_log'])
    expect(propose(survey).services.map(({ name, crossing }) => [name, crossing.length])).toEqual([
      ['payments', 2],
      ['users', 2],
      ['inventory', 3],
      ['products', 3],
      ['orders', 4],
    ])
  })

  test('finds parts by ON DELETE CASCADE where names say nothing', () => {
    const survey = surveyOf('accounts sessions invoices', ['sessions > accounts cascade', 'invoices > accounts'])
    expect(namesOf(survey)).toEqual({ accounts: ['accounts', 'sessions'], invoices: ['invoices'] })
  })

  test('keeps a look-up table that two services use apart', () => {
    const survey = surveyOf('countries# users orders', ['users > countries', 'orders > countries'])
    expect(namesOf(survey)).toEqual({ countries: ['countries'], users: ['users'], orders: ['orders'] })
  })

  test('takes a schema as a service', () => {
    const survey = surveyOf('users sales.orders sales.lines', ['sales.orders > users'])
    expect(namesOf(survey)).toEqual({ sales: ['orders', 'lines'], users: ['users'] })
  })

  test('takes every table alone where nothing connects any', () => {
    expect(namesOf(surveyOf('a b!', []))).toEqual({ a: ['a'] })
  })

  test('ends with tables that refer to each other', () => {
    const survey = surveyOf('a b', ['a > b cascade', 'b > a cascade'])
    expect(namesOf(survey)).toEqual({ a: ['a', 'b'] })
  })

  test('leaves what nobody has named', () => {
    const survey = surveyOf('users orders', ['orders > users'])
    const { services, staying } = proposeNamed(survey, { people: survey.tables.slice(0, 1) })
    expect(services.map(({ name, crossing }) => [name, crossing.map((key) => key.name)])).toEqual([
      ['people', ['orders > users']],
    ])
    expect(staying.map(({ name }) => name)).toEqual(['orders'])
  })
})

test.each([
  ['users', [], 'users'],
  ['users', ['users', 'users_2'], 'users_3'],
  ['Order Items', [], 'order_items'],
  ['123', [], 'service'],
  ['Ümläute', [], 'umlaute'],
  ['monolith', [], 'service_monolith'],
  ['a'.repeat(63), ['a'.repeat(30)], `${'a'.repeat(28)}_2`],
])('the service of %j is %j %j', (table, taken, name) => {
  const found = serviceName(table, new Set(taken))
  expect(found).toBe(name)
  expect(found).toMatch(/^[a-z][a-z0-9_-]{0,29}$/)
})

function namesOf(survey: Survey): Record<string, string[]> {
  return Object.fromEntries(propose(survey).services.map(({ name, tables }) => [name, tables.map((t) => t.name)]))
}

/** Tables by name: `#` behind it has a key of its own making, `!` has none; keys as `from > to`, with or without cascade. */
function surveyOf(tables: string, keys: readonly string[]): Survey {
  const parse = (text: string) => {
    const [schema = '', name = ''] = text.includes('.') ? text.split('.') : ['public', text]
    return { schema, name }
  }
  return {
    database: 'shop',
    version: '18',
    logins: [],
    tables: tables.split(' ').map((text): SurveyTable => {
      const [, name = '', flag] = /^([\w.]+)([#!]?)$/.exec(text) ?? []
      const primaryKey = flag === '!' ? [] : ['id']
      return { ...parse(name), rows: null, bytes: null, primaryKey, numbered: flag === '' }
    }),
    keys: keys.map((text) => {
      const [from = '', , to = '', cascade] = text.split(' ')
      return { name: text, from: parse(from), to: parse(to), cascades: cascade === 'cascade' }
    }),
  }
}
