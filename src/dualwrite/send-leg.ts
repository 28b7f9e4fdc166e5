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
}

/** What `idempotent()` in the service did with the leg; the value of its header `x-migrate-leg`. */
export type LegState = 'applied' | 'replayed' | 'revoked' | 'refused'

export type LegAnswer =
  | { readonly kind: 'answered'; readonly leg: LegState; readonly status: number }
  /** nobody knows whether it was, or still will be, applied */
  | { readonly kind: 'failed'; readonly why: string }

/** Sends one leg, once. Never rejects. */
export async function sendLeg(pool: Pool, request: LegRequest): Promise<LegAnswer> {
  const { key, method, target, body } = request
  const headers = [...withoutKey(request.headers), 'idempotency-key', key]
  const signal = AbortSignal.timeout(Math.ceil(request.milliseconds))
  try {
    const answer = await pool.request({ path: target, method, headers, body, signal })
    // The content is not compared yet; reading it keeps the connection, failing to read it changes nothing.
    await answer.body.dump({ limit: 256 * 1024 }).catch(() => undefined)
    const leg = answer.headers['x-migrate-leg']
    if (isLegState(leg)) return { kind: 'answered', leg, status: answer.statusCode }
    return { kind: 'failed', why: `answered ${answer.statusCode} without x-migrate-leg` }
  } catch (error) {
    return { kind: 'failed', why: (error as Error).message }
  }
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
