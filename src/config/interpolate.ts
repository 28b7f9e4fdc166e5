import { dirname, resolve } from 'node:path'
import { type Document, isScalar, type Node, visit, visitAsync, type YAMLMap } from 'yaml'
import { MigrateError } from '../errors.ts'
import type { Environment } from './environment.ts'
import { readText } from './read-text.ts'

// `$${` stands for a literal `${`; a default may hold anything but a closing brace.
const PLACEHOLDER = /\$\$\{|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g

/**
 * Replaces `${VAR}`, `${VAR:-default}` and `{file: PATH}` in the parsed document, in place. Working on scalars after
 * parsing, a value can never become YAML. A key whose value becomes empty counts as not given.
 * Throws CONFIG_VARIABLE_UNSET and CONFIG_FILE_UNREADABLE.
 */
export async function interpolate(document: Document, { path, env, place }: InterpolationSource): Promise<void> {
  visit(document, {
    Pair(_, { value: node }) {
      if (!isScalar(node) || typeof node.value !== 'string' || node.value === '') return undefined
      return fill(node.value, env, () => place(node)) === '' ? visit.REMOVE : undefined
    },
    Scalar(key, node) {
      if (key !== 'key' && typeof node.value === 'string') node.value = fill(node.value, env, () => place(node))
    },
  })
  await visitAsync(document, {
    async Map(_, node) {
      const file = fileOf(node)
      if (file === undefined) return undefined
      const content = await readText(resolve(dirname(path), file), { at: place(node), file })
      return document.createNode(content.replace(/\r?\n$/, ''))
    },
  })
}

export interface InterpolationSource {
  /** of the configuration; the files it names are relative to its folder */
  readonly path: string
  readonly env: Environment
  /** `file:line:column` of a node */
  readonly place: (node: Node) => string
}

/** The variables that a text asks for, in order. */
export function variablesIn(text: string): string[] {
  return [...text.matchAll(PLACEHOLDER)].flatMap(([, variable]) => (variable === undefined ? [] : [variable]))
}

function fill(text: string, env: Environment, place: () => string): string {
  return text.replace(PLACEHOLDER, (whole, variable: string | undefined, fallback: string | undefined) => {
    if (variable === undefined) return whole.slice(1)
    const value = env[variable]
    if (value === undefined && fallback === undefined) {
      throw new MigrateError('CONFIG_VARIABLE_UNSET', { at: place(), variable })
    }
    // As in a shell, `:-` stands in for an empty variable too.
    return value === undefined || value === '' ? (fallback ?? '') : value
  })
}

/** The path in `{file: PATH}`, the map with this one key. */
export function fileOf(map: YAMLMap): string | undefined {
  const [only, ...others] = map.items
  if (only === undefined || others.length > 0 || !isScalar(only.key) || only.key.value !== 'file') return undefined
  return isScalar(only.value) && typeof only.value.value === 'string' ? only.value.value : undefined
}
