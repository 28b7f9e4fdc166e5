import { MigrateError } from '../errors.ts'
import { type Message, signature } from './message.ts'

/**
 * POSTs the message; certificates are verified, redirects are not followed. With a secret, `x-migrate-signature` is the
 * HMAC-SHA256 over `timestamp.body`. Throws ALERT_UNDELIVERED or ALERT_REFUSED.
 */
export async function postWebhook(
  target: { readonly webhook: string; readonly secret?: string | undefined },
  message: Message,
  { timeout, signal }: { readonly timeout: number; readonly signal: AbortSignal },
): Promise<void> {
  const to = new URL(target.webhook).origin
  const body = JSON.stringify(message)
  const timestamp = String(Math.floor(Date.now() / 1_000))
  const response = await fetch(target.webhook, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'monolith-migrate',
      'x-migrate-timestamp': timestamp,
      ...(target.secret !== undefined && { 'x-migrate-signature': signature(target.secret, timestamp, body) }),
    },
    body,
    redirect: 'manual',
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
  }).catch((cause: unknown) => {
    throw new MigrateError('ALERT_UNDELIVERED', { target: to, reason: reasonOf(cause, timeout) }, { cause })
  })
  const { status } = response
  // what it has to say is of no use, and may be long
  await response.body?.cancel().catch(() => undefined)
  if (response.ok) return
  const code = status >= 500 || status === 408 || status === 429 ? 'ALERT_UNDELIVERED' : 'ALERT_REFUSED'
  throw new MigrateError(code, { target: to, reason: `it answered ${status}` })
}

/** fetch hides the reason one level down; `cause.code` is a word such as ECONNREFUSED or CERT_HAS_EXPIRED. */
function reasonOf(cause: unknown, timeout: number): string {
  if (!(cause instanceof Error)) return 'unknown'
  if (cause.name === 'TimeoutError') return `no answer within ${timeout} ms`
  const inner = cause.cause
  return inner instanceof Error && 'code' in inner ? String(inner.code) : cause.name
}
