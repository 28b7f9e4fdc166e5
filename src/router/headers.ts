/**
 * The headers that an upstream gets: hop-by-hop ones, those named by Connection, framing and forged X-Forwarded-* and
 * x-migrate-* left out, ours added. Flat list of names and values; the caller adds Content-Length for a streamed body.
 */
export function upstreamHeaders(rawHeaders: readonly string[], peer: string, scheme: 'http' | 'https'): string[] {
  const listed = connectionListed(rawHeaders)
  const headers: string[] = []
  let host: string | null = null
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    const value = rawHeaders[index + 1] as string
    const lower = name.toLowerCase()
    if (REQUEST_DROPPED.has(lower) || OURS.test(lower)) continue
    if (listed !== null && listed.has(lower) && !PROTECTED.test(lower)) continue
    if (lower === 'host') host = value
    headers.push(name, value)
  }
  headers.push('x-forwarded-for', peer, 'x-forwarded-proto', scheme)
  if (host !== null && host !== '') headers.push('x-forwarded-host', host)
  return headers
}

/** The headers that the client gets: the upstream's own, cleaned the same way, and which side answered. */
export function clientHeaders(raw: readonly Buffer[], side: string): string[] {
  const headers: string[] = []
  let listed: Set<string> | null = null
  let lengthAt = -1
  let coded = false
  for (let index = 0; index < raw.length; index += 2) {
    const name = (raw[index] as Buffer).toString('latin1')
    const value = (raw[index + 1] as Buffer).toString('latin1')
    const lower = name.toLowerCase()
    if (lower === 'connection') listed = addTokens(listed, value)
    if (lower === 'transfer-encoding') coded = true
    if (ANSWER_DROPPED.has(lower) || lower.startsWith('x-migrate-')) continue
    if (lower === 'content-length') lengthAt = headers.length
    headers.push(name, value)
  }
  if (coded && lengthAt >= 0) headers.splice(lengthAt, 2)
  headers.push('x-migrate-side', side)
  return listed === null ? headers : withoutListed(headers, listed)
}

/** The names and values of a parsed head as text, for trailers. */
export function textPairs(raw: readonly Buffer[]): string[] {
  return raw.map((part) => part.toString('latin1'))
}

function connectionListed(rawHeaders: readonly string[]): Set<string> | null {
  let listed: Set<string> | null = null
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (name.length === 10 && name.toLowerCase() === 'connection') {
      listed = addTokens(listed, rawHeaders[index + 1] as string)
    }
  }
  return listed
}

function addTokens(listed: Set<string> | null, value: string): Set<string> | null {
  const lower = value.toLowerCase()
  if (lower === 'keep-alive' || lower === 'close') return listed
  const tokens = listed ?? new Set<string>()
  for (const token of lower.split(',')) tokens.add(token.trim())
  return tokens
}

function withoutListed(headers: readonly string[], listed: ReadonlySet<string>): string[] {
  const kept: string[] = []
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] as string
    const lower = name.toLowerCase()
    if (!listed.has(lower) || PROTECTED.test(lower)) kept.push(name, headers[index + 1] as string)
  }
  return kept
}

const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]
const REQUEST_DROPPED = new Set([...HOP_BY_HOP, 'trailer', 'expect', 'content-length', 'forwarded', 'x-real-ip'])
const ANSWER_DROPPED = new Set(HOP_BY_HOP)
/** Ours, also with underscores: many servers cannot tell `x_migrate_epoch` from `x-migrate-epoch`. */
const OURS = /^x[-_](?:migrate|forwarded)[-_]/
/** A client's Connection header must not be able to strip these. */
const PROTECTED =
  /^(?:host|cookie|set-cookie|authorization|content-type|content-length|idempotency-key|traceparent|tracestate|x-migrate-.*)$/
