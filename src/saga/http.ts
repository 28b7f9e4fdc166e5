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
const MOST_BYTES = 1024 * 1024
const REFUSALS = [400, 402, 403, 404, 409, 410, 422]

/**
 * Asks a participant over HTTP, with the idempotency key of the step in the header `idempotency-key`, as of a step's
 * `execute` or `compensate`. Resolves with the JSON of a 2xx answer, undefined when there is none. Throws StepRefused
 * when the participant has refused; any other error leaves open whether it was done, also an answer of more than 1 MiB, or
 * one that does not begin within five minutes.
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
  }).catch(rethrow)
  const text = await textOf(response).catch(rethrow)
  const outcome = response.headers.get(OUTCOME)
  if (response.ok && outcome !== 'refused') return text === '' ? undefined : (JSON.parse(text) as unknown)
  const refused = outcome === 'refused' || (outcome === null && !doubtful && refusals.includes(response.status))
  if (refused) throw new StepRefused(reasonOf(text, response.status))
  throw new HttpStepError(response.status)
}

/** With the reason: fetch only says that it failed, and has it one level down. */
function rethrow(error: unknown): never {
  const inner = error instanceof Error ? error.cause : undefined
  if (!(inner instanceof Error && 'code' in inner)) throw error
  const code = String(inner.code)
  const message = `there is no answer from the participant: ${inner.message === '' ? code : inner.message}`
  throw Object.assign(new Error(message, { cause: error }), { code })
}

/** What became of it is not known. */
class HttpStepError extends Error {
  override readonly name = 'HttpStepError'
  readonly code: string

  constructor(status: number | 'TOO_LONG') {
    super(status === 'TOO_LONG' ? 'the answer of the participant is too long' : `the participant answered ${status}`)
    this.code = `HTTP_${status}`
  }
}

/** A worker has many sagas, and the journal keeps each result. */
async function textOf({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    bytes += chunk.length
    // whoever leaves the loop closes the connection
    if (bytes > MOST_BYTES) throw new HttpStepError('TOO_LONG')
    chunks.push(chunk)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
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
