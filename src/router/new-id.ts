import type { EndedAnswer } from './answer.ts'
import { pathOf } from './mark-write.ts'
import { type Match, splitPath } from './match.ts'

/** The id that the monolith gave to a new row: from the answer's JSON, else from the Location of a 201. */
export function newId({ status, location, body }: EndedAnswer, { route }: Match): string | null {
  const fromBody = body === null ? null : idIn(body, route.id)
  if (fromBody !== null) return fromBody
  return status === 201 && location !== null ? (splitPath(pathOf(location)).at(-1) ?? null) : null
}

function idIn(body: Buffer, path: readonly string[]): string | null {
  let value = parsed(body)
  for (const name of path) {
    if (typeof value !== 'object' || value === null) return null
    value = (value as Record<string, unknown>)[name]
  }
  if (typeof value === 'string' && value !== '') return value
  // A larger number has lost digits in parsing: no id is better than a wrong one.
  return typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : null
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    // Not JSON after all, so there is no id in it.
    return null
  }
}
