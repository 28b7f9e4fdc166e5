import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { alternatives, configJsonSchema, type JsonSchema } from './json-schema.ts'
import { loadConfig } from './load.ts'

const SHOP = join(import.meta.dirname, '../../fixtures/config/shop.yaml')

test('the annotated example is valid', async () => {
  const url = 'postgres://migrate_apply@localhost/shop'
  const env = { MONOLITH_DATABASE_URL: url, USERS_DATABASE_URL: url, ORDERS_DATABASE_URL: url }
  const config = await loadConfig({ path: SHOP, env })
  expect(Object.keys(config.services)).toEqual(['users', 'orders'])
})

test('the annotated example has every key of the schema', () => {
  expect(missingKeys(configJsonSchema(), parse(readFileSync(SHOP, 'utf8')))).toEqual([])
})

test('a key that the example lacks is found, at every depth', () => {
  const shop: { control: object; services: Record<string, { stores: object[] }> } = parse(readFileSync(SHOP, 'utf8'))
  shop.control = {}
  for (const service of Object.values(shop.services)) service.stores = [{ kind: 'postgres' }]
  expect(missingKeys(configJsonSchema(), shop)).toEqual(['control.url', 'services.*.stores[].url'])
})

/** The keys of the schema that none of the values has which stand at that place. */
function missingKeys(schema: JsonSchema, ...values: unknown[]): string[] {
  return gather(schema, values, '')
}

function gather(schema: JsonSchema, values: readonly unknown[], path: string): string[] {
  return alternatives(schema).flatMap(({ properties = {}, additionalProperties, items }) => [
    ...Object.entries(properties).flatMap(([key, property]) => {
      const found = values.flatMap((value) => (isMap(value) && key in value ? [value[key]] : []))
      const place = path === '' ? key : `${path}.${key}`
      return found.length === 0 ? [place] : gather(property, found, place)
    }),
    ...(additionalProperties
      ? gather(additionalProperties, values.filter(isMap).flatMap(Object.values), `${path}.*`)
      : []),
    ...(items ? gather(items, values.filter(Array.isArray).flat(), `${path}[]`) : []),
  ])
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
