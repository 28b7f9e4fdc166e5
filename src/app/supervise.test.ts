import { describe, expect, test } from 'vitest'
import { MigrateError } from '../errors.ts'
import { type Part, type PartEvent, supervise } from './supervise.ts'

const unreachable = new MigrateError('DATABASE_UNREACHABLE', { role: 'monolith', address: 'here', reason: 'gone' })
const refused = new MigrateError('CHECK_FAILED', { service: 'users', count: 1 })
const locked = new MigrateError('LOCKED', { what: 'sync/users' })

describe('a part that fails', () => {
  test('with an error that passes is started again, and what went wrong is told', async () => {
    const { states, error } = await watched([unreachable, unreachable])
    expect(states).toEqual(['started', 'restarting', 'started', 'restarting', 'started', 'stopped'])
    expect(error).toBeNull()
  })

  test('with an error that somebody has to act on stays down', async () => {
    const { states, error } = await watched([unreachable, refused])
    expect(states).toEqual(['started', 'restarting', 'started', 'failed'])
    expect(error).toBe(refused)
  })

  test('because another process has its work looks who, and waits', async () => {
    const { states } = await watched([locked], [null, 'elsewhere/1', 'elsewhere/1', null])
    expect(states).toEqual(['started', 'standby', 'started', 'stopped'])
  })

  test('with a stranger is a defect', async () => {
    const { error } = await watched([new TypeError('x is not a function')])
    expect(error).toMatchObject({ code: 'INTERNAL' })
  })
})

test('a part that ends by itself is a defect: nobody would notice', async () => {
  const part: Part = { name: 'router', run: () => Promise.resolve(), holder: () => Promise.resolve(null) }
  const error = await supervise(part, { signal: new AbortController().signal, onEvent: () => undefined })
  expect(error?.message).toContain('router has ended by itself')
})

test('the part is closed once, however it ends', async () => {
  let closed = 0
  const part: Part = {
    ...{ name: 'x', holder: () => Promise.resolve(null) },
    run: () => Promise.reject(refused),
    close: async () => void (closed += 1),
  }
  await supervise(part, { signal: new AbortController().signal, onEvent: () => undefined })
  expect(closed).toBe(1)
})

/** Runs a part that throws these errors one after the other, and is stopped when it has run through. */
async function watched(failures: readonly Error[], holders: readonly (string | null)[] = []) {
  const stop = new AbortController()
  const states: PartEvent['state'][] = []
  let run = 0
  let asked = 0
  const part: Part = {
    name: 'sync users',
    async run(signal) {
      const failure = failures[run++]
      if (failure !== undefined) throw failure
      stop.abort()
      signal.throwIfAborted()
    },
    async holder() {
      const holder = holders[asked++] ?? null
      return holder === null ? null : { holder, since: 'then' }
    },
  }
  const error = await supervise(part, { signal: stop.signal, onEvent: ({ state }) => states.push(state) })
  return { states, error }
}
