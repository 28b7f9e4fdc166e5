import type { StepContext } from './definition.ts'
import type { ParticipantAnswer } from './participant.ts'
import { StepRefused } from './refusal.ts'

export interface HttpCall {
  readonly url: string | URL
  /** default POST */
  readonly method?: string
  /** is sent as JSON */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /**
   * Statuses by which a participant that does not use `answerHttp` says that nothing was done; default 400, 402, 403, 404,
   * 409, 410 and 422. They do not count after a try without an answer: nobody knows which one is meant.
   */
  readonly refusals?: readonly number[]
}

/** By which the answer of a participant is known from that of a proxy in between. */
const OUTCOME = 'saga-outcome'
const REFUSALS = [400, 402, 403, 404, 409, 410, 422]

/**
 * Asks a participant over HTTP, with the idempotency key of the step in the header `idempotency-key`, as of a step's
 * `execute` or `compensate`. Resolves with the JSON of a 2xx answer, undefined when there is none. Throws StepRefused
 * when the participant has refused; any other error leaves open whether it was done.
 */
export async function callHttp(context: StepContext<unknown, unknown>, call: HttpCall): Promise<unknown> {
  const { url, method = 'POST', body, headers = {}, refusals = REFUSALS } = call
  const { idempotencyKey, traceparent, signal, doubtful } = context
  const response = await fetch(url, {
    ...{ method, signal, redirect: 'error' },
    headers: {
      ...{ accept: 'application/json', 'idempotency-key': idempotencyKey },
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(traceparent !== null && { traceparent }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    throw withReason(error)
  })
  const text = await response.text()
  const outcome = response.headers.get(OUTCOME)
  if (response.ok && outcome !== 'refused') return text === '' ? undefined : (JSON.parse(text) as unknown)
  const refused = outcome === 'refused' || (outcome === null && !doubtful && refusals.includes(response.status))
  if (refused) throw new StepRefused(reasonOf(text, response.status))
  throw new HttpStepError(response.status)
}

/** fetch only says that it failed, and has the reason one level down. */
function withReason(error: unknown): unknown {
  const inner = error instanceof Error ? error.cause : undefined
  if (!(inner instanceof Error && 'code' in inner)) return error
  const code = String(inner.code)
  const message = `the participant cannot be reached: ${inner.message === '' ? code : inner.message}`
  return Object.assign(new Error(message, { cause: error }), { code })
}

/** What became of it is not known. */
class HttpStepError extends Error {
  override readonly name = 'HttpStepError'
  readonly code: string

  constructor(status: number) {
    super(`the participant answered ${status}`)
    this.code = `HTTP_${status}`
  }
}

function reasonOf(text: string, status: number): string {
  try {
    const { reason, error } = JSON.parse(text) as { reason?: unknown; error?: unknown }
    const found = reason ?? error
    return typeof found === 'string' ? found : `it answered ${status}`
  } catch {
    return `it answered ${status}`
  }
}

/** The answer of `participant` as that of an HTTP server: 200 with the result, or 409 with the reason. */
export function answerHttp(answer: ParticipantAnswer): {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: unknown
} {
  const headers = { [OUTCOME]: answer.outcome }
  if (answer.outcome === 'done') return { status: 200, headers, body: answer.result }
  return { status: 409, headers, body: { reason: answer.reason } }
}
