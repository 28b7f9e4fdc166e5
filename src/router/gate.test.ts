import { expect, test } from 'vitest'
import { gate } from './gate.ts'

const HOST = ['Host', 'shop']
function status(method: string, url: string, rawHeaders: string[] = HOST, httpVersion = '1.1'): number | null {
  return gate({ method, url, rawHeaders, httpVersion }, 8_192)?.status ?? null
}

test.each([
  '/',
  '/users/7?a=//b/../c',
  '/a//b',
  '/a.b/..c/c..',
  '/%20',
  '/a/...',
  '/file%2etxt',
  '/ü'.replace('ü', '%C3%BC'),
  '/q?x=%2f',
])('%s passes', (url) => {
  expect(status('GET', url)).toBe(null)
})

test.each([
  '',
  '*',
  'users',
  'http://shop/users',
  'http://evil/users',
  '//evil/users',
  '/a%2fb',
  '/a%2Fb',
  '/a%5cb',
  '/a\\b',
  '/a/../b',
  '/a/./b',
  '/a/..',
  '/.',
  '/%2e%2e/b',
  '/a/.%2E/b',
  '/a/..;x=1/b',
  '/a%00b',
  '/a#b',
])('target "%s" is refused', (url) => {
  expect(status('GET', url)).toBe(400)
})

test.each([
  [405, 'TRACE', []],
  [405, 'CONNECT', []],
  [400, 'GET', ['Host', 'shop', 'host', 'other']],
  [400, 'GET', ['Host', 'user@evil']],
  [400, 'GET', ['Host', 'a/../b']],
  [400, 'GET', ['Host', 'a b']],
  [null, 'GET', ['Host', '']],
  [null, 'GET', ['Host', '[::1]:8080']],
  [null, 'POST', ['Host', 'a', 'Transfer-Encoding', 'Chunked']],
  [501, 'POST', ['Host', 'a', 'Transfer-Encoding', 'gzip, chunked']],
  [501, 'POST', ['Host', 'a', 'Transfer-Encoding', 'identity, chunked']],
  [501, 'POST', ['Host', 'a', 'transfer-encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
  [null, 'POST', ['Host', 'a', 'Expect', '100-Continue']],
  [417, 'POST', ['Host', 'a', 'Expect', 'y 100-continue']],
  [417, 'POST', ['Host', 'a', 'expect', 'something']],
] as const)('%s for %s with %j', (expected, method, headers) => {
  expect(status(method, '/', [...headers])).toBe(expected)
})

test('HTTP/1.0 has no Transfer-Encoding', () => {
  expect(status('POST', '/', ['Transfer-Encoding', 'chunked'], '1.0')).toBe(400)
})

test('a long target is refused', () => {
  expect(status('GET', `/${'a'.repeat(8_191)}`)).toBe(null)
  expect(status('GET', `/${'a'.repeat(8_192)}`)).toBe(414)
})
