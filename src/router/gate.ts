/** What the gate looks at; node's IncomingMessage has this shape. */
export interface GateRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersion: string
  readonly rawHeaders: readonly string[]
}

export interface Refusal {
  readonly status: 400 | 405 | 414 | 417 | 501
  readonly reason: string
}

/**
 * Refuses what Node's parser lets through and two servers could read differently (request smuggling, routes that are
 * evaded by another spelling of the path). Null = let it pass.
 */
export function gate(request: GateRequest, urlBytes: number): Refusal | null {
  const method = request.method ?? ''
  if (method === 'TRACE' || method === 'CONNECT') return { status: 405, reason: `${method} is not passed on` }
  return refuseTarget(request.url ?? '', urlBytes) ?? refuseHeaders(request)
}

function refuseTarget(target: string, urlBytes: number): Refusal | null {
  if (target.length > urlBytes) return { status: 414, reason: 'the target is too long' }
  if (target.charCodeAt(0) !== SLASH) return bad('the target must begin with /')
  if (target.charCodeAt(1) === SLASH) return bad('the target must not begin with //')
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  if (AMBIGUOUS_PATH.test(path)) return bad('the path has an encoded separator, a dot segment or a fragment')
  return null
}

function refuseHeaders({ rawHeaders, httpVersion }: GateRequest): Refusal | null {
  let hosts = 0
  let codings = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    const value = rawHeaders[index + 1] as string
    if (name.length === 4 && name.toLowerCase() === 'host') {
      if (++hosts > 1) return bad('there are two Host headers')
      if (!HOST.test(value)) return bad('the Host header is not a host')
    } else if (name.length === 6 && name.toLowerCase() === 'expect') {
      if (value.toLowerCase() !== '100-continue') return { status: 417, reason: 'unknown expectation' }
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (httpVersion === '1.0') return bad('HTTP/1.0 has no Transfer-Encoding')
      if (++codings > 1 || value.toLowerCase() !== 'chunked')
        return { status: 501, reason: 'unknown Transfer-Encoding' }
    }
  }
  return null
}

function bad(reason: string): Refusal {
  return { status: 400, reason }
}

const SLASH = 47
const HOST = /^(?:[\w.~-]+|\[[0-9a-f:.]+\])?(?::\d{1,5})?$/i
/** Encoded slash, backslash or zero byte; backslash; fragment; `.` and `..` segments, encoded or with a parameter. */
const AMBIGUOUS_PATH = /%2f|%5c|%00|[\\#]|\/(?:\.|%2e){1,2}(?:;[^/]*)?(?:\/|$)/i
