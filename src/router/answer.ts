import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { type Dispatcher, errors, type Pool } from 'undici'
import type { Counters } from './counters.ts'
import { clientHeaders, textPairs } from './headers.ts'
import { refuse } from './refuse.ts'
import { headerOf } from './sticky.ts'

/** Who answered: the value of the response header `x-migrate-side`. */
export type AnsweredBy = 'service' | 'monolith' | 'fallback'

/** One request on its way to one upstream. */
export interface Journey {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly method: string
  readonly target: string
  readonly headers: string[]
  readonly pool: Pool
  readonly by: AnsweredBy
  readonly body: Buffer | Readable | null
  /** time the upstream has to send its headers */
  readonly headerMs: number
  readonly counters: Counters
  /** when the request came, by the router's clock */
  readonly startedAt: number
  /** asked before a failure reaches the client; true = it has taken over and will answer */
  readonly takeOver: ((journey: Journey, failure: Failure) => boolean) | null
  /** told how it ended; set for whatever is counted or marked */
  readonly watch: AnswerWatch | null
}

export interface Failure {
  readonly kind: 'connect' | 'timeout' | 'reset' | 'status' | 'other'
}

export interface AnswerWatch {
  /** a 200 or 201 in JSON is kept whole (up to 64 KiB) and shown before any of it reaches the client */
  readonly collect: boolean
  /** an upstream that has the whole request is heard to the end, even when the client has gone */
  readonly hearOut: boolean
  /** called once, before the last byte goes to the client; status null = no complete answer came */
  ended(answer: EndedAnswer): void
  /** the headers are in and nothing of the answer has reached the client */
  started?(location: string | null): void
}

export interface EndedAnswer {
  readonly status: number | null
  readonly location: string | null
  /** only when it was collected */
  readonly body: Buffer | null
}

/** Sends the request and streams the answer back. */
export function travel(journey: Journey): void {
  const { pool, method, target, headers, body, headerMs } = journey
  const options: Dispatcher.DispatchOptions = { path: target, method, headers, body, headersTimeout: headerMs }
  options.bodyTimeout = 0
  // undici closes the connection after each HEAD unless told not to.
  if (method === 'HEAD') options.reset = false
  pool.dispatch(options, new AnswerHandler(journey))
}

/** Streams one answer; node and undici call it, in the order of its methods. */
class AnswerHandler implements Dispatcher.DispatchHandler {
  readonly #journey: Journey
  #controller: Dispatcher.DispatchController | null = null
  #state: 'waiting' | 'passing' | 'collecting' | 'ignoring' | 'over' = 'waiting'
  #gone = false
  #told = false
  #timer: NodeJS.Timeout | undefined
  #status: number | null = null
  #location: string | null = null
  #headers: string[] = []
  #statusText = ''
  #collected: Buffer[] = []
  #bytes = 0

  constructor(journey: Journey) {
    this.#journey = journey
    journey.response.once('close', this.#onClientClose)
    // undici's own timer is up to a second late and does not run while a request waits for a connection.
    if (journey.by !== 'monolith') this.#timer = setTimeout(this.#onTimeout, journey.headerMs)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#gone || this.#state !== 'waiting') controller.abort(new Error('nobody waits for the answer'))
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    parsed: Record<string, string | string[] | undefined>,
    statusText = '',
  ): void {
    if (status < 200) return this.#inform(status, parsed)
    clearTimeout(this.#timer)
    const failed = status === 502 || status === 503 || status === 504
    if (failed && this.#takenOver({ kind: 'status' })) return
    this.#headers = clientHeaders(controller.rawHeaders as Buffer[], this.#journey.by)
    this.#status = status
    this.#statusText = statusText
    const { watch } = this.#journey
    if (watch !== null) {
      this.#location = headerOf(this.#headers, 'location')
      watch.started?.(this.#location)
      const json = headerOf(this.#headers, 'content-type')?.includes('json') === true
      if (watch.collect && json && (status === 200 || status === 201)) {
        this.#state = 'collecting'
        return
      }
    }
    this.#writeHead()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'passing') return this.#write(controller, chunk)
    this.#bytes += chunk.length
    if (this.#state === 'collecting') {
      this.#collected.push(chunk)
      if (this.#bytes > COLLECT_BYTES) {
        this.#writeHead()
        for (const part of this.#collected.splice(0)) this.#write(controller, part)
      }
      return
    }
    if (this.#bytes > IGNORE_BYTES) controller.abort(new Error('the answer is not wanted'))
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#state === 'ignoring') return this.#finish()
    const body = this.#state === 'collecting' ? Buffer.concat(this.#collected) : null
    this.#tell({ status: this.#status, location: this.#location, body })
    if (body !== null) this.#writeHead()
    this.#finish()
    if (this.#gone) return
    const { response } = this.#journey
    const trailers = controller.rawTrailers as Buffer[] | null | undefined
    if (trailers && trailers.length > 0) response.addTrailers(pairs(textPairs(trailers)))
    response.end(body !== null && body.length > 0 ? body : undefined)
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#state === 'ignoring' || this.#state === 'over') return this.#finish()
    const failure = failureOf(error)
    const { response, counters } = this.#journey
    if (!this.#gone && !response.headersSent && this.#takenOver(failure)) return
    this.#tell(NO_ANSWER)
    this.#finish()
    if (this.#gone) return
    if (failure.kind === 'timeout') counters.upstreamTimeouts++
    else counters.upstreamErrors++
    // Half an answer must not look like a whole one.
    if (response.headersSent) response.destroy()
    else if (failure.kind === 'timeout') refuse(response, 504, 'the upstream did not answer in time')
    else refuse(response, 502, 'the upstream could not be reached or broke off')
  }

  readonly #onClientClose = (): void => {
    if (this.#state === 'over' || this.#state === 'ignoring') return
    this.#gone = true
    const { watch, request } = this.#journey
    // A complete request may be committed already: its write stays counted until the upstream has answered.
    if (watch?.hearOut === true && request.complete && this.#controller !== null) this.#controller.resume()
    else this.#controller?.abort(new Error('the client went away'))
  }

  readonly #onTimeout = (): void => {
    const error = new errors.HeadersTimeoutError('no answer in time')
    if (this.#controller === null) this.onResponseError(null, error)
    else this.#controller.abort(error)
  }

  readonly #onDrain = (): void => this.#controller?.resume()

  #takenOver(failure: Failure): boolean {
    if (this.#gone || this.#journey.takeOver === null) return false
    clearTimeout(this.#timer)
    this.#state = 'ignoring'
    this.#journey.response.off('close', this.#onClientClose)
    if (this.#journey.takeOver(this.#journey, failure)) return true
    this.#state = 'waiting'
    this.#journey.response.once('close', this.#onClientClose)
    return false
  }

  #tell(answer: EndedAnswer): void {
    if (this.#told) return
    this.#told = true
    this.#journey.watch?.ended(answer)
  }

  #writeHead(): void {
    this.#state = 'passing'
    if (!this.#gone) this.#journey.response.writeHead(this.#status as number, this.#statusText, this.#headers)
  }

  #write(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#gone || this.#journey.response.write(chunk)) return
    controller.pause()
    this.#journey.response.once('drain', this.#onDrain)
  }

  #inform(status: number, parsed: Record<string, string | string[] | undefined>): void {
    const { response, counters } = this.#journey
    const link = parsed['link']
    if (this.#gone || status !== 103 || link === undefined) return
    try {
      response.writeEarlyHints({ link })
    } catch {
      // Node refuses links that it finds malformed; the final answer carries them again.
      counters.informationalDropped++
    }
  }

  #finish(): void {
    this.#state = 'over'
    clearTimeout(this.#timer)
    this.#journey.response.off('close', this.#onClientClose)
  }
}

const NO_ANSWER: EndedAnswer = { status: null, location: null, body: null }
/** An answer that a fallback has replaced is read up to here, to keep its connection; a longer one is cut. */
const IGNORE_BYTES = 64 * 1024
const COLLECT_BYTES = 64 * 1024
const CONNECT_CODES = new Set(['UND_ERR_CONNECT_TIMEOUT', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND'])
const RESET_CODES = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

function failureOf(error: Error): Failure {
  const code = 'code' in error ? String(error.code) : ''
  if (CONNECT_CODES.has(code)) return { kind: 'connect' }
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return { kind: 'timeout' }
  return { kind: RESET_CODES.has(code) ? 'reset' : 'other' }
}

function pairs(flat: readonly string[]): [string, string][] {
  const result: [string, string][] = []
  for (let index = 0; index < flat.length; index += 2) result.push([flat[index] as string, flat[index + 1] as string])
  return result
}
