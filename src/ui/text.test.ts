import { describe, expect, test } from 'vitest'
import { createColors, failureText, keyValues, mark, nextBlock, plain, table } from './text.ts'

const none = createColors(false)
const some = createColors(true)

describe('table', () => {
  const columns = [{ title: 'service' }, { title: 'lag', align: 'right' as const }, { title: 'next' }]

  test('is as wide as its widest cells', () => {
    const rows = [
      ['users', '1.2 s', 'route set'],
      ['order-service', '0 s', ''],
    ]
    expect(table(columns, rows, none)).toBe(
      ['service          lag  next', 'users          1.2 s  route set', 'order-service    0 s'].join('\n'),
    )
  })

  test('does not count colours', () => {
    const [, plainRow] = table(columns, [['users', '1', 'x']], none).split('\n')
    const [, colored] = table(columns, [[some.green('users'), '1', 'x']], some).split('\n')
    expect(colored).toBe(plainRow?.replace('users', some.green('users')))
  })

  test('without rows is its titles', () => {
    expect(table(columns, [], none)).toBe('service  lag  next')
  })
})

test('keyValues puts the values in one column', () => {
  const text = keyValues(
    [
      ['stage', 'route'],
      ['percent', '25'],
    ],
    none,
  )
  expect(text).toBe('stage    route\npercent  25')
})

test('a mark is a symbol and a word', () => {
  expect([mark('ok', 'done', none), mark('failed', 'refused', none), mark('waiting', 'running', none)]).toEqual([
    '✔ done',
    '✖ refused',
    '◌ running',
  ])
  expect(mark('ok', 'done', some)).toBe(`${some.green('✔')} done`)
})

test('nextBlock names commands and why, or is nothing', () => {
  expect(nextBlock([], none)).toBe('')
  const steps = [
    { cmd: 'migrate status', why: 'see where it stands' },
    { cmd: 'migrate rollback users', why: 'undo it' },
  ]
  expect(nextBlock(steps, none)).toBe(
    '\nNext:\n  migrate status          see where it stands\n  migrate rollback users  undo it\n',
  )
  const long = [...steps, { cmd: 'migrate status', why: 'x'.repeat(100) }]
  expect(nextBlock(long, none)).toContain(`\n  migrate status\n      ${'x'.repeat(100)}\n`)
})

test('failureText says what happened and what to do', () => {
  expect(failureText({ code: 'LOCKED', message: 'one\ntwo', hint: 'wait' }, none)).toBe(
    '✖ LOCKED  one\n  two\n  Do: wait',
  )
})

test.each([
  ['\u001b[2Jusers\u0007', 'users'],
  ['a\u202eb\u0000c\r', 'abc'],
  ['tab\tand\nline', 'tab\tand\nline'],
  ['Ünï 日本', 'Ünï 日本'],
])('plain takes out of %j what a terminal would obey', (given, expected) => {
  expect(plain(given)).toBe(expected)
})
