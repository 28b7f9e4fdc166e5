import { expect, test } from 'vitest'
import { clientHeaders, upstreamHeaders } from './headers.ts'

function sent(...raw: string[]): Record<string, string> {
  const flat = upstreamHeaders(raw, '10.0.0.9', 'http')
  return Object.fromEntries(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1]]] : []))) as Record<
    string,
    string
  >
}

test('case, order and repetition are kept', () => {
  const headers = upstreamHeaders(['Host', 'a', 'X-One', '1', 'x-one', '2', 'COOKIE', 'c'], '10.0.0.9', 'http')
  expect(headers.slice(0, 8)).toEqual(['Host', 'a', 'X-One', '1', 'x-one', '2', 'COOKIE', 'c'])
})

test('hop-by-hop headers, framing, and what Connection lists stay behind', () => {
  const headers = sent(
    ...['Connection', 'keep-alive, X-Secret', 'Keep-Alive', '5', 'TE', 'trailers', 'Upgrade', 'h2c', 'X-Secret', 's'],
    ...['Transfer-Encoding', 'chunked', 'Content-Length', '3', 'Proxy-Authorization', 'p', 'Expect', '100-continue'],
    ...['Http2-Settings', 'x', 'Trailer', 't', 'Accept', '*/*'],
  )
  expect(headers).toEqual({ Accept: '*/*', 'x-forwarded-for': '10.0.0.9', 'x-forwarded-proto': 'http' })
})

test('a client cannot forge where it comes from, nor speak as the router', () => {
  const headers = sent(
    ...['Host', 'shop', 'X-Forwarded-For', '1.2.3.4', 'X-Forwarded-Host', 'evil', 'X-Forwarded-Port', '1'],
    ...['Forwarded', 'for=1', 'X-Real-IP', '1', 'X-Migrate-Epoch', '9', 'x_migrate_epoch', '9', 'X_Forwarded_For', '1'],
  )
  expect(headers).toEqual({
    Host: 'shop',
    'x-forwarded-for': '10.0.0.9',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'shop',
  })
})

test('a client cannot strip what others rely on through Connection', () => {
  const headers = sent(
    'Connection',
    'x-forwarded-for, cookie, authorization, idempotency-key',
    'Cookie',
    'c',
    'Authorization',
    'a',
    'Idempotency-Key',
    'k',
  )
  expect(headers).toMatchObject({
    Cookie: 'c',
    Authorization: 'a',
    'Idempotency-Key': 'k',
    'x-forwarded-for': '10.0.0.9',
  })
})

test('answers are cleaned the same way and say who answered', () => {
  const raw = [
    'Set-Cookie',
    'a=1',
    'Set-Cookie',
    'b=2',
    'Connection',
    'x-gone, set-cookie',
    'X-Gone',
    '1',
    'x-migrate-leg',
    'applied',
  ]
  expect(
    clientHeaders(
      raw.map((text) => Buffer.from(text)),
      'fallback',
    ),
  ).toEqual([...['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'x-migrate-side', 'fallback']])
})

test('a length beside a transfer coding is not believed', () => {
  const raw = ['Content-Length', '5', 'Transfer-Encoding', 'chunked', 'A', 'b'].map((text) => Buffer.from(text))
  expect(clientHeaders(raw, 'monolith')).toEqual(['A', 'b', 'x-migrate-side', 'monolith'])
})
