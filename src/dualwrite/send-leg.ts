import type { Pool } from 'undici'

export interface LegRequest {
  /** the Idempotency-Key */
  readonly key: string
  readonly method: string
  readonly target: string
  readonly headers: readonly string[]
  readonly body: Buffer | null
  /** time until the answer's headers must be in */
  readonly milliseconds: number
  /** the service has no `idempotent()`: any answer of its own counts */
  readonly plain: boolean
}

/** What `idempotent()` in the service did with the leg; the value of its header `x-migrate-leg`. */
export type LegState = 'applied' | 'replayed' | 'revoked' | 'refused'

export type LegAnswer =
  | {
      readonly kind: 'answered'
      /** null = of a service without `idempotent()` */
      readonly leg: LegState | null
      readonly status: number
      readonly location: string | null
      /** null when it is large or broke off */
      readonly body: Buffer | null
    }
  | LegFailure

/** Nobody knows whether it was, or still will be, applied, unless it was not `sent` at all. */
export interface LegFailure {
  readonly kind: 'failed'
  /** class of the failure; never anything that the service has said */
  readonly why: string
  /** the request may have reached the service */
  readonly sent: boolean
  /** another try may be answered */
  readonly passing: boolean
}

/** Sends one leg, once. Never rejects. */
export async function sendLeg(pool: Pool, request: LegRequest): Promise<LegAnswer> {
  const { key, method, target, body, plain } = request
  const headers = [...withoutKey(request.headers), 'idempotency-key', key]
  const signal = AbortSignal.timeout(Math.ceil(request.milliseconds))
  try {
    const answer = await pool.request({ path: target, method, headers, body, signal })
    const { statusCode: status } = answer
    // Without its content only the status is compared.
    const content = await contentOf(answer.body).catch(() => null)
    const location = answer.headers['location']
    const found = { status, location: typeof location === 'string' ? location : null, body: content }
    const leg = answer.headers['x-migrate-leg']
    if (isLegState(leg)) return { kind: 'answered', leg, ...found }
    // The status of a gateway: the service behind it may not have the request, or may still be at it.
    if (GATEWAY.has(status)) return { kind: 'failed', why: `gateway ${status}`, sent: true, passing: true }
    if (plain) return { kind: 'answered', leg: null, ...found }
    return { kind: 'failed', why: `${status} without x-migrate-leg`, sent: true, passing: status >= 500 }
  } catch (error) {
    const { name, code = name } = error as Error & { code?: string }
    return { kind: 'failed', why: CLASSES[code] ?? code, sent: !NEVER_SENT.has(code), passing: true }
  }
}

const GATEWAY = new Set([502, 503, 504])
const NO_CONNECTION = 'ECONNREFUSED ENOTFOUND EAI_AGAIN EHOSTUNREACH ENETUNREACH UND_ERR_CONNECT_TIMEOUT'
const NEVER_SENT = new Set(NO_CONNECTION.split(' '))
const CLASSES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection lost',
  EPIPE: 'connection lost',
  UND_ERR_SOCKET: 'connection lost',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  TimeoutError: 'no answer in time',
}

/** As much of an answer as may hold an id. */
const MOST_CONTENT = 256 * 1024

async function contentOf(body: AsyncIterable<Buffer>): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  let bytes = 0
  // Leaving the loop ends the connection of an answer that is larger.
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MOST_CONTENT) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The client's own Idempotency-Key is the monolith's; the leg has one of ours. */
function withoutKey(headers: readonly string[]): string[] {
  const kept: string[] = []
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] as string
    if (name.toLowerCase() !== 'idempotency-key') kept.push(name, headers[index + 1] as string)
  }
  return kept
}

function isLegState(value: unknown): value is LegState {
  return value === 'applied' || value === 'replayed' || value === 'revoked' || value === 'refused'
}
