import { MigrateError } from '../errors.ts'

/** Where the key of a user is found in a request. */
export type StickySource =
  | { readonly from: 'header' | 'cookie'; readonly name: string }
  | { readonly from: 'path'; readonly name: string; readonly index: number }

/** The value of the first source that the request has; null = no key, so the monolith answers. */
export function stickyKey(
  sources: readonly StickySource[],
  rawHeaders: readonly string[],
  segments: readonly string[],
): string | null {
  for (const source of sources) {
    const value = valueOf(source, rawHeaders, segments)
    if (value !== null) return value
  }
  return null
}

/** The names under which a write marks its user: one for each source that the request has. */
export function userKeys(
  sources: readonly StickySource[],
  rawHeaders: readonly string[],
  segments: readonly string[],
): string[] {
  const keys: string[] = []
  for (const source of sources) {
    const value = valueOf(source, rawHeaders, segments)
    if (value !== null) keys.push(`${source.from}:${source.name}=${value}`)
  }
  return keys
}

/** The name under which a write marks the thing it is about: the first two segments of its path. */
export function entityKey(segments: readonly string[]): string {
  return segments.length > 1 ? `/${segments[0]}/${segments[1]}` : `/${segments[0] ?? ''}`
}

/** Reads `header:x-user-id`, `cookie:sid`, `path:id` (a `:id` of the route's own path). */
export function parseSticky(text: string, service: string, pattern: readonly string[]): StickySource {
  const [from, name = ''] = text.split(/:(.*)/s)
  if (from === 'header' && name !== '') return { from, name: name.toLowerCase() }
  if (from === 'cookie' && name !== '') return { from, name }
  const index = pattern.indexOf(`:${name}`)
  if (from === 'path' && index >= 0) return { from, name, index }
  throw new MigrateError('CONFIG_INVALID', {
    at: `services.${service}.routes`,
    path: `sticky "${text}"`,
    reason: "must be header:NAME, cookie:NAME or path:PARAMETER with a :PARAMETER of the route's path",
  })
}

/** The first header of that (lower-case) name in a flat list of names and values. */
export function headerOf(rawHeaders: readonly string[], name: string): string | null {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const candidate = rawHeaders[index] as string
    if (candidate.length === name.length && candidate.toLowerCase() === name) return rawHeaders[index + 1] as string
  }
  return null
}

function valueOf(source: StickySource, rawHeaders: readonly string[], segments: readonly string[]): string | null {
  if (source.from === 'path') return segments[source.index] || null
  if (source.from === 'header') return headerOf(rawHeaders, source.name) || null
  const cookies = headerOf(rawHeaders, 'cookie')
  return cookies === null ? null : cookieOf(cookies, source.name) || null
}

function cookieOf(cookies: string, name: string): string | null {
  let start = 0
  while (start < cookies.length) {
    let end = cookies.indexOf(';', start)
    if (end === -1) end = cookies.length
    const equals = cookies.indexOf('=', start)
    if (equals !== -1 && equals < end && cookies.slice(start, equals).trim() === name) {
      return cookies.slice(equals + 1, end).trim()
    }
    start = end + 1
  }
  return null
}
