import type { ServerResponse } from 'node:http'

/** Answers a request ourselves. `close` = the connection must not be used again (its framing is in doubt). */
export function refuse(
  response: ServerResponse,
  status: number,
  reason: string,
  more: { readonly retryAfter?: number; readonly close?: boolean } = {},
): void {
  if (response.destroyed || response.headersSent) return
  const body = `migrate: ${reason}\n`
  const headers = ['content-type', 'text/plain; charset=utf-8', 'content-length', String(Buffer.byteLength(body))]
  if (more.retryAfter !== undefined) headers.push('retry-after', String(more.retryAfter))
  if (more.close === true) response.shouldKeepAlive = false
  response.writeHead(status, headers)
  response.end(response.req.method === 'HEAD' ? undefined : body)
}
