import type { IncomingHttpHeaders } from 'node:http'
import type { TransactionClient } from '../model/service-database.ts'

export interface LegRequest {
  /** the name of the service in migrate.yaml */
  readonly service: string
  readonly headers: IncomingHttpHeaders
}

/** What the service answers. `body` is sent as JSON. */
export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** How long a second leg may sit idle inside its transaction before PostgreSQL ends it, milliseconds. */
const IDLE_LIMIT = 1_000

/**
 * Makes a write handler safe for second legs: it runs at most once per Idempotency-Key, never after the sync worker
 * has revoked the key, and never under another epoch. Call it inside an open transaction and send what it answers;
 * roll back when it throws. A request that is no second leg runs unchanged.
 *
 * The header `x-migrate-leg` of the answer says what happened: applied, replayed, revoked or refused.
 */
export async function idempotent(
  tx: TransactionClient,
  request: LegRequest,
  handler: () => Promise<Answer>,
): Promise<Answer> {
  if (request.headers['x-migrate-mode'] !== 'dual-write') return handler()
  const key = header(request.headers, 'idempotency-key')
  const epoch = Number(header(request.headers, 'x-migrate-epoch'))
  if (key === '' || !Number.isSafeInteger(epoch)) return said(400, 'refused')
  const { rows } = await tx.query(`select outcome, status, answer from migrate.leg_begin($1, $2, $3, $4)`, [
    request.service,
    key,
    epoch,
    IDLE_LIMIT,
  ])
  const { outcome, status, answer } = rows[0] as { outcome: string; status: number | null; answer: unknown }
  switch (outcome) {
    case 'apply': {
      const made = await handler()
      await tx.query(`select migrate.leg_end($1, $2, $3)`, [key, made.status, JSON.stringify(made.body ?? null)])
      return { ...made, headers: { ...made.headers, 'x-migrate-leg': 'applied' } }
    }
    case 'replayed':
      return { status: status ?? 200, body: answer ?? undefined, headers: { 'x-migrate-leg': 'replayed' } }
    case 'revoked':
      return said(409, 'revoked')
    default:
      return said(409, 'refused')
  }
}

function said(status: number, leg: 'revoked' | 'refused'): Answer {
  return { status, headers: { 'x-migrate-leg': leg }, body: { error: `second leg ${leg}` } }
}

function header(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  return Array.isArray(value) ? (value[0] ?? '') : (value ?? '')
}
