import { expect, test } from 'vitest'
import { MigrateError } from './errors.ts'
import { retry } from './retry.ts'

const SOON = { first: 1, slowest: 2 }
const away = () => new MigrateError('DATABASE_UNREACHABLE', { role: 'monolith', address: 'x', reason: 'y' })

test('tries again while the error says `timed`, telling each failure', async () => {
  const told: string[] = []
  let tries = 0
  const run = async (): Promise<string> => {
    if (++tries < 4) throw away()
    return 'done'
  }
  const onRetry = (error: Error, attempt: number): number => told.push(`${attempt} ${(error as MigrateError).code}`)
  expect(await retry(run, { ...SOON, onRetry, signal: new AbortController().signal })).toBe('done')
  expect(told).toEqual(['1 DATABASE_UNREACHABLE', '2 DATABASE_UNREACHABLE', '3 DATABASE_UNREACHABLE'])
})

test.each([
  ['an error for a person', new MigrateError('SLOT_LOST', {})],
  ['a defect', new TypeError('x is not a function')],
])('%s is not tried again and comes out as it is', async (_, error) => {
  let tries = 0
  const run = (): Promise<never> => {
    tries++
    return Promise.reject(error)
  }
  await expect(retry(run, { ...SOON, signal: new AbortController().signal })).rejects.toBe(error)
  expect(tries).toBe(1)
})

test('gives up after so many tries with the last error', async () => {
  const errors = [away(), away(), away()]
  let tries = 0
  const run = (): Promise<never> => Promise.reject(errors[tries++] as Error)
  await expect(retry(run, { ...SOON, tries: 3, signal: new AbortController().signal })).rejects.toBe(errors[2])
  expect(tries).toBe(3)
})

test('an abort ends the wait between two tries at once', async () => {
  const controller = new AbortController()
  let tries = 0
  const run = (): Promise<never> => {
    tries++
    setImmediate(() => controller.abort(new Error('stop')))
    return Promise.reject(away())
  }
  const from = performance.now()
  await expect(retry(run, { first: 60_000, slowest: 60_000, signal: controller.signal })).rejects.toThrow('stop')
  expect(performance.now() - from).toBeLessThan(5_000)
  expect(tries).toBe(1)
})

test('with `wait` the caller says when the next try comes, and whether', async () => {
  const asked: number[] = []
  let tries = 0
  const run = (): Promise<never> => {
    tries++
    return Promise.reject(away())
  }
  const wait = (failed: number): number | null => {
    asked.push(failed)
    return failed < 3 ? 1 : null
  }
  await expect(retry(run, { wait, signal: new AbortController().signal })).rejects.toMatchObject({
    code: 'DATABASE_UNREACHABLE',
  })
  expect([tries, asked]).toEqual([3, [1, 2, 3]])
})
