import { expect, test } from 'vitest'
import { memoryRun } from '../../test/support/memory-ports.ts'
import { pause } from '../model/pause.ts'
import { runCutover } from './cutover.ts'
import type { MovePorts, RowKey } from './ports.ts'

const done = () => Promise.resolve()
const ROW: RowKey = { table: 'public.users', key: ['1'] }

/** A run up to the comparison behind the fence, which finds this row different and takes so long to see it. */
function run(maxWriteOutage: number, comparing: number) {
  const seen = { forward: '', reverse: '' }
  let fenced = false
  const ports: Partial<MovePorts> = {
    track: done,
    compareAll: () => Promise.resolve([]),
    takeTouched: () => Promise.resolve(fenced ? [ROW] : []),
    compareKeys: async (rows) => {
      await pause(comparing, new AbortController().signal)
      return [...rows]
    },
    holdWrites: () => Promise.resolve(1),
    routers: () => Promise.resolve([]),
    setGrace: done,
    openLegs: () => Promise.resolve(0),
    takeFence: () => {
      fenced = true
      seen.forward = 'users 7 9'
      return Promise.resolve(9n)
    },
    emitToken: (side, token, mark) => {
      const text = `users ${token} ${mark}`
      seen[side === 'monolith' ? 'forward' : 'reverse'] = text
      return Promise.resolve(text)
    },
    tokenSeen: (direction) => Promise.resolve(seen[direction]),
  }
  return { ...memoryRun('cutover', ports), maxWriteOutage }
}

test('rows that differ behind the fence are drift', async () => {
  await expect(runCutover(run(3_000, 0))).rejects.toMatchObject({ code: 'DRIFT_FOUND' })
})

test('once the fence has run out they are what the monolith has written since: the step was too slow', async () => {
  const slow = runCutover(run(700, 400))
  await expect(slow).rejects.toMatchObject({ code: 'STEP_TIMEOUT', context: { step: 'verify-touched' } })
})

test('a process that was stopped behind its fence compares nothing', async () => {
  const late = run(300, 0)
  await expect(runCutover(late)).rejects.toMatchObject({ code: 'STEP_TIMEOUT', context: { step: 'drain' } })
  expect(late.calls).not.toContain('compareKeys')
})
