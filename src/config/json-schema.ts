import { z } from 'zod'
import { configSchema } from './schema.ts'

/** The JSON Schema of `migrate.yaml`, for editors, for the docs and for naming the keys allowed at a place. */
export function configJsonSchema(): JsonSchema {
  return z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' }) as JsonSchema
}

export interface JsonSchema {
  readonly type?: string
  readonly description?: string
  readonly const?: string
  readonly default?: unknown
  readonly pattern?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: JsonSchema | false
  readonly items?: JsonSchema
  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
}

/** The keys that a map at `path` may have; `value` is the whole document, to tell the kinds of a store apart. */
export function allowedKeys(path: readonly PropertyKey[], value: unknown): string[] {
  let schemas: readonly JsonSchema[] = [configJsonSchema()]
  let at = value
  for (const key of path) {
    const here = at
    schemas = schemas
      .flatMap(alternatives)
      .filter((schema) => fits(schema, here))
      .flatMap((schema) => child(schema, key))
    at = (at as Record<PropertyKey, unknown> | undefined)?.[key]
  }
  const here = at
  const found = schemas.flatMap(alternatives).filter((schema) => fits(schema, here))
  return [...new Set(found.flatMap((schema) => Object.keys(schema.properties ?? {})))]
}

/** The schema itself, or what it may be instead. */
export function alternatives(schema: JsonSchema): JsonSchema[] {
  const either = schema.anyOf ?? schema.oneOf
  return either === undefined ? [schema] : either.flatMap(alternatives)
}

function child(schema: JsonSchema, key: PropertyKey): JsonSchema[] {
  if (typeof key === 'number') return schema.items === undefined ? [] : [schema.items]
  const found = schema.properties?.[String(key)] ?? schema.additionalProperties
  return found === undefined || found === false ? [] : [found]
}

/** False for a variant of another kind: a `const` that the value contradicts. */
function fits(schema: JsonSchema, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(schema.properties ?? {}).every(([key, property]) => {
    return property.const === undefined || (value as Record<string, unknown>)[key] === property.const
  })
}
