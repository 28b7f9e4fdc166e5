import type { IncomingMessage } from 'node:http'
import { type Duplex, pipeline } from 'node:stream'
import type { Dispatcher, Pool } from 'undici'
import type { RouterContext } from './context.ts'
import { gate } from './gate.ts'
import { clientHeaders, upstreamHeaders } from './headers.ts'
import { pathOf } from './mark-write.ts'
import { headerOf } from './sticky.ts'

/** Passes a WebSocket on to the side that has the authority: what it carries may be writes. */
export function handleUpgrade(context: RouterContext, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  socket.on('error', () => socket.destroy())
  const refusal = gate(request, context.limits.urlBytes)
  if (refusal !== null) return answer(socket, refusal.status, refusal.reason)
  if (request.method !== 'GET' || !wantsWebSocket(request)) return answer(socket, 501, 'only WebSocket is upgraded to')
  context.counters.upgrades++
  const { pool, by } = sideOf(context, request)
  const headers = upstreamHeaders(request.rawHeaders, request.socket.remoteAddress ?? '', 'http')
  const options = { path: request.url as string, method: 'GET', headers, upgrade: 'websocket' }
  pool.dispatch({ ...options, headersTimeout: context.limits.answerMs }, new UpgradeHandler(socket, head, by))
}

/** Only WebSocket: clients that offer `Upgrade: h2c` on every request are served as if they had not. */
export function wantsWebSocket(request: IncomingMessage): boolean {
  return headerOf(request.rawHeaders, 'upgrade')?.toLowerCase() === 'websocket'
}

/** Answers on a bare socket and ends it. */
export function answer(socket: Duplex, status: number, reason: string): void {
  const body = `migrate: ${reason}\n`
  const head = `HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`
  socket.end(head + body)
}

class UpgradeHandler implements Dispatcher.DispatchHandler {
  readonly #client: Duplex
  readonly #head: Buffer
  readonly #by: 'service' | 'monolith'
  #started = false

  constructor(client: Duplex, head: Buffer, by: 'service' | 'monolith') {
    this.#client = client
    this.#head = head
    this.#by = by
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const abort = (): void => controller.abort(new Error('the client went away'))
    if (this.#client.destroyed) abort()
    else this.#client.once('close', abort)
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _: unknown, upstream: Duplex): void {
    this.#writeHead(controller, status, 'Switching Protocols', 'connection: upgrade\r\nupgrade: websocket\r\n')
    // Frames that the client sent together with its handshake.
    if (this.#head.length > 0) upstream.write(this.#head)
    const close = (): void => {
      upstream.destroy()
      this.#client.destroy()
    }
    pipeline(this.#client, upstream, close)
    pipeline(upstream, this.#client, close)
  }

  /** The upstream does not want to upgrade: its answer ends with the connection. */
  onResponseStart(controller: Dispatcher.DispatchController, status: number, _: unknown, text = ''): void {
    if (status >= 200) this.#writeHead(controller, status, text, 'connection: close\r\n')
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#client.write(chunk)
  }

  onResponseEnd(): void {
    this.#client.end()
  }

  onResponseError(): void {
    if (this.#started || this.#client.destroyed) this.#client.destroy()
    else answer(this.#client, 502, 'the upstream could not be reached or broke off')
  }

  #writeHead(controller: Dispatcher.DispatchController, status: number, text: string, more: string): void {
    this.#started = true
    const headers = clientHeaders(controller.rawHeaders as Buffer[], this.#by)
    let head = `HTTP/1.1 ${status} ${text}\r\n${more}`
    for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`
    this.#client.write(`${head}\r\n`, 'latin1')
  }
}

function sideOf(context: RouterContext, request: IncomingMessage): { pool: Pool; by: 'service' | 'monolith' } {
  const match = context.match(pathOf(request.url as string))
  const service = match?.route.service
  const policy = service === undefined ? null : context.policies.policyOf(service)
  const live = policy?.stage === 'live' || policy?.stage === 'complete'
  if (service !== undefined && live) return { pool: context.services.get(service) as Pool, by: 'service' }
  return { pool: context.monolith, by: 'monolith' }
}
