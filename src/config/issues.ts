import type { core } from 'zod'
import { MigrateError } from '../errors.ts'
import { allowedKeys } from './json-schema.ts'
import { nearest } from './nearest.ts'
import type { YamlSource } from './yaml-source.ts'

type Issue = core.$ZodIssue

/** The issue that stands first in the file, as an error that names its place; never the value found there. */
export function firstIssue(issues: readonly Issue[], value: unknown, source: Places): MigrateError {
  const errors = issues.flatMap(leaves).map((issue) => asError(issue, value, source))
  const [first] = errors.sort((a, b) => order(a) - order(b))
  if (first !== undefined) return first
  return new MigrateError('CONFIG_INVALID', { at: source.placeOf([]), path: dotted([]), reason: 'is not valid' })
}

type Places = Pick<YamlSource, 'placeOf'>

/** Of a union's alternatives, the issues of the one whose outermost form fits: those say what is wrong inside. */
function leaves(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue]
  const inside =
    issue.errors.find((errors) => errors.every(({ path }) => path.length > 0)) ?? issue.errors.flat().slice(0, 1)
  return inside.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })).flatMap(leaves)
}

function asError(issue: Issue, value: unknown, { placeOf }: Places): MigrateError {
  if (issue.code === 'unrecognized_keys') return unknownKey(issue, value, placeOf)
  if (issue.code === 'invalid_key') return badName(issue, placeOf)
  const reason = valueAt(value, issue.path) === undefined ? MISSING : issue.message
  return new MigrateError('CONFIG_INVALID', { at: placeOf(issue.path), path: dotted(issue.path), reason })
}

function unknownKey(issue: core.$ZodIssueUnrecognizedKeys, value: unknown, placeOf: Places['placeOf']): MigrateError {
  const [key = ''] = issue.keys
  const allowed = allowedKeys(issue.path, value)
  const close = nearest(key, allowed)
  return new MigrateError('CONFIG_UNKNOWN_KEY', {
    at: placeOf([...issue.path, key]),
    key,
    section: dotted(issue.path),
    suggestion: close === undefined ? '' : `. Did you mean "${close}"?`,
    allowed: allowed.length === 0 ? 'nothing' : allowed.join(', '),
  })
}

/** The name of a service or table that does not have the form of one. */
function badName(issue: core.$ZodIssueInvalidKey, placeOf: Places['placeOf']): MigrateError {
  const reason = issue.issues[0]?.message ?? 'is not a valid name'
  return new MigrateError('CONFIG_INVALID', { at: placeOf(issue.path), path: dotted(issue.path), reason })
}

function dotted(path: readonly PropertyKey[]): string {
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')
  return text === '' ? 'the configuration' : text.replace(/^\./, '')
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((at, key) => (at as Record<PropertyKey, unknown> | null | undefined)?.[key], value)
}

/** A key that is missing comes last: it has no place of its own, and mostly stands there misspelt. */
function order({ context }: MigrateError): number {
  const [line = 0, column = 0] = String(context['at']).split(':').slice(-2).map(Number)
  return line * 10_000 + column + (context['reason'] === MISSING ? 1e12 : 0)
}

const MISSING = 'is missing or empty'
