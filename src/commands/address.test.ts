import { expect, test } from 'vitest'
import { addressOf } from './address.ts'

test.each([
  ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['some-host.example:65535', { host: 'some-host.example', port: 65_535 }],
])('%s', (text, address) => {
  expect(addressOf(text, 'run')).toEqual(address)
})

test.each(['127.0.0.1', 'x:', ':80', '127.0.0.1:70000', '127.0.0.1:1e3', 'a b:80'])('%j is none', (text) => {
  expect(() => addressOf(text, 'run')).toThrow('--listen takes HOST:PORT')
})
