import type { IncomingMessage } from 'node:http'
import { PassThrough, type Readable } from 'node:stream'
import { headerOf } from './sticky.ts'

export type BufferedBody =
  | { readonly kind: 'whole'; readonly body: Buffer | null }
  /** larger than the limit: what was read so far; the rest still stands in the request */
  | { readonly kind: 'larger'; readonly begun: readonly Buffer[] }
  /** the client went away in the middle */
  | { readonly kind: 'gone' }

/** Memory that all buffered bodies of an instance may take together. */
export class BodyBudget {
  #left: number

  constructor(bytes: number) {
    this.#left = bytes
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false
    this.#left -= bytes
    return true
  }

  give(bytes: number): void {
    this.#left += bytes
  }
}

/** Reads the whole body when it has at most `limit` bytes and the budget allows; whoever gets `whole` gives back. */
export function bufferBody(request: IncomingMessage, limit: number, budget: BodyBudget): Promise<BufferedBody> {
  if (!hasBody(request.rawHeaders)) return Promise.resolve({ kind: 'whole', body: null })
  if (contentLength(request.rawHeaders) > limit) return Promise.resolve({ kind: 'larger', begun: [] })
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const done = (result: BufferedBody): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose)
      if (result.kind !== 'whole') budget.give(bytes)
      resolve(result)
    }
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk)
      const fits = budget.take(chunk.length)
      if (fits) bytes += chunk.length
      if (fits && bytes <= limit) return
      request.pause()
      done({ kind: 'larger', begun: chunks })
    }
    const onEnd = (): void => done({ kind: 'whole', body: Buffer.concat(chunks) })
    const onClose = (): void => done({ kind: 'gone' })
    request.on('data', onData).on('end', onEnd).on('close', onClose)
  })
}

/**
 * The request's body as a stream of its own: undici destroys the stream it is given when an upstream fails, and
 * destroying the request itself would reset the client's connection before it has its answer.
 */
export function streamBody(request: IncomingMessage, begun: readonly Buffer[] = []): Readable {
  const body = new PassThrough()
  for (const chunk of begun) body.write(chunk)
  request.pipe(body)
  request.once('close', () => {
    if (!request.complete) body.destroy(new Error('the client went away'))
  })
  body.once('close', () => {
    request.unpipe(body)
    request.resume()
  })
  // The answer handler hears of every failure through undici; without a listener a late one would end the process.
  body.on('error', () => undefined)
  return body
}

export function hasBody(rawHeaders: readonly string[]): boolean {
  return headerOf(rawHeaders, 'transfer-encoding') !== null || contentLength(rawHeaders) > 0
}

/** The declared length; 0 when none is declared. */
export function contentLength(rawHeaders: readonly string[]): number {
  return Number(headerOf(rawHeaders, 'content-length') ?? 0)
}
