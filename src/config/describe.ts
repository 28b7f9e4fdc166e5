import { isAlias, isMap, isScalar, isSeq, type Node } from 'yaml'
import type { Environment } from './environment.ts'
import { fileOf, variablesIn } from './interpolate.ts'
import { type ConfigLocation, readParts } from './load.ts'
import { mask } from './mask.ts'
import { openYaml, type YamlSource } from './yaml-source.ts'

/** One value that is in force, safe to print, and where it comes from. */
export interface Described {
  /** e.g. `services.users.stores[0].url` */
  readonly key: string
  readonly value: string
  readonly origin: Origin
}

export type Origin =
  | { readonly kind: 'default' }
  /** written there; `at` is `file:line:column` */
  | { readonly kind: 'written'; readonly at: string }
  | { readonly kind: 'variable'; readonly at: string; readonly variables: readonly VariableOrigin[] }
  | { readonly kind: 'file'; readonly at: string; readonly file: string }

export interface VariableOrigin {
  readonly name: string
  /** `unset`: the value after `:-` stands in for it */
  readonly from: 'environment' | 'env-file' | 'unset'
}

/** The configuration that is in force, value by value. Throws as `loadConfig`. */
export async function describeConfig(location: ConfigLocation): Promise<Described[]> {
  const { config, text, fromFile } = await readParts(location)
  // as it was written: the other document has its placeholders filled in
  const source = openYaml(text, location.path)
  return leaves(config, []).map(({ path, value }) => {
    const origin = originOf(source, path, (name) => whence(name, location.env, fromFile))
    return { key: dotted(path), value: mask(path, value, origin.kind === 'file'), origin }
  })
}

type Path = readonly (string | number)[]

function leaves(value: unknown, path: Path): { path: Path; value: unknown }[] {
  if (typeof value !== 'object' || value === null) return value === undefined ? [] : [{ path, value }]
  const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  if (entries.length === 0) return path.length === 0 || isOnlyDefaults(path) ? [] : [{ path, value }]
  return entries.flatMap(([key, inner]) => leaves(inner, [...path, key]))
}

/** `control: {}` says nothing. */
function isOnlyDefaults(path: Path): boolean {
  return path.length === 1
}

/** Goes down as far as the file has something to say: a key it lacks is a default. */
function originOf(source: YamlSource, path: Path, from: (name: string) => VariableOrigin['from']): Origin {
  let node: unknown = source.document.contents
  for (const key of path) {
    const map = isAlias(node) ? node.resolve(source.document) : node
    if (isMap(map) && fileOf(map) === undefined) {
      node = map.items.find(({ key: written }) => isScalar(written) && String(written.value) === String(key))?.value
      if (node === undefined) return { kind: 'default' }
    } else if (isSeq(map)) {
      // a list of names has become a map of them
      node = typeof key === 'number' ? map.items[key] : map.items.find((item) => isScalar(item) && item.value === key)
    } else break
  }
  const place = node === null || node === undefined ? source.placeOf(path) : source.place(node as Node)
  const found = isAlias(node) ? node.resolve(source.document) : node
  const file = isMap(found) ? fileOf(found) : undefined
  if (file !== undefined) return { kind: 'file', at: place, file }
  const variables = isScalar(found) && typeof found.value === 'string' ? variablesIn(found.value) : []
  if (variables.length === 0) return { kind: 'written', at: place }
  return { kind: 'variable', at: place, variables: variables.map((name) => ({ name, from: from(name) })) }
}

function whence(name: string, env: Environment, fromFile: Environment): VariableOrigin['from'] {
  if (name in env) return (env[name] ?? '') === '' ? 'unset' : 'environment'
  return (fromFile[name] ?? '') === '' ? 'unset' : 'env-file'
}

function dotted(path: Path): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`))
    .join('')
    .replace(/^\./, '')
}
