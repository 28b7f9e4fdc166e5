import { MigrateError } from '../errors.ts'
import type { RoutedService, RouteOptions } from './options.ts'
import { parseSticky, type StickySource } from './sticky.ts'

export interface Route {
  readonly service: string
  readonly path: string
  readonly sticky: readonly StickySource[]
  /** where a new row's id stands in the JSON answer */
  readonly id: readonly string[]
}

export interface Match {
  readonly route: Route
  readonly segments: readonly string[]
}

/** Finds the first route, in the order of the configuration, that a path (without query) belongs to. */
export type MatchRoute = (path: string) => Match | null

/** Compiles the routes once; most paths of the monolith are told apart by their first segment alone. */
export function compileRoutes(services: readonly RoutedService[]): MatchRoute {
  const patterns = services.flatMap((service) => service.routes.map((route) => compile(service.name, route)))
  const byFirst = new Map<string, Pattern[]>()
  const anyFirst = patterns.filter((pattern) => pattern.first === null)
  for (const { first } of patterns) {
    if (first === null || byFirst.has(first)) continue
    byFirst.set(
      first,
      patterns.filter((pattern) => pattern.first === first || pattern.first === null),
    )
  }
  return (path) => {
    const candidates = byFirst.get(firstSegment(path)) ?? anyFirst
    if (candidates.length === 0) return null
    const segments = splitPath(path)
    const found = candidates.find((pattern) => matches(pattern, segments))
    return found === undefined ? null : { route: found.route, segments }
  }
}

/** The segments of a path, empty ones left out, harmless percent-encodings undone (`/%75sers` is `/users`). */
export function splitPath(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '')
  return path.includes('%') ? segments.map(decodeUnreserved) : segments
}

interface Pattern {
  readonly route: Route
  /** literal first segment; null = any */
  readonly first: string | null
  /** null = any one segment */
  readonly segments: readonly (string | null)[]
  readonly open: boolean
}

function compile(service: string, options: RouteOptions): Pattern {
  const parts = splitPath(options.path)
  const open = parts.at(-1) === '**'
  const own = open ? parts.slice(0, -1) : parts
  if (!options.path.startsWith('/') || own.includes('**')) {
    throw new MigrateError('CONFIG_INVALID', {
      at: `services.${service}.routes`,
      path: options.path,
      reason: 'must start with / and may have ** only at its end',
    })
  }
  const segments = own.map((part) => (part === '*' || part.startsWith(':') ? null : part))
  const sticky = (options.sticky ?? []).map((source) => parseSticky(source, service, own))
  const route = { service, path: options.path, sticky, id: (options.id ?? 'id').split('.') }
  return { route, first: segments[0] ?? null, segments, open }
}

function matches(pattern: Pattern, segments: readonly string[]): boolean {
  const wanted = pattern.segments
  if (pattern.open ? segments.length < wanted.length : segments.length !== wanted.length) return false
  return wanted.every((segment, index) => segment === null || segment === segments[index])
}

function firstSegment(path: string): string {
  let start = 1
  while (path.charCodeAt(start) === SLASH) start++
  const end = path.indexOf('/', start)
  const segment = end === -1 ? path.slice(start) : path.slice(start, end)
  return segment.includes('%') ? decodeUnreserved(segment) : segment
}

function decodeUnreserved(segment: string): string {
  return segment.replace(/%([0-9a-f]{2})/gi, (whole, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[\w.~-]/.test(character) ? character : whole
  })
}

const SLASH = 47
