import { expect, test } from 'vitest'
import { memoryRun } from '../../test/support/memory-ports.ts'
import { MigrateError } from '../errors.ts'
import type { AuthorityReading, MovePorts } from './ports.ts'
import { settleRun } from './recover.ts'

const MONOLITH: AuthorityReading = { side: 'monolith', epoch: 3, fence: 0n, closed: false }
const SWITCHED: AuthorityReading = { side: 'service', epoch: 4, fence: 0n, closed: false }
const REASON = new Error('why it stopped')
const done = () => Promise.resolve()

const UNDO: Partial<MovePorts> = {
  liftFence: done,
  releaseWrites: () => Promise.resolve(1),
  discardReverse: done,
  setGrace: done,
  track: done,
}
const FINISH: Partial<MovePorts> = {
  ...UNDO,
  shut: done,
  setServiceGate: done,
  routers: () => Promise.resolve([]),
}

test('a cutover that has not switched is put back, the monolith first', async () => {
  const run = memoryRun('cutover', { ...UNDO, authority: () => Promise.resolve(MONOLITH) })
  expect(await settleRun(run, REASON)).toEqual({ state: 'aborted', error: REASON })
  expect(run.calls).toEqual(['authority', 'liftFence', 'releaseWrites', 'discardReverse', 'setGrace', 'track'])
})

test('a cutover that has switched is finished', async () => {
  const run = memoryRun('cutover', { ...FINISH, authority: () => Promise.resolve(SWITCHED) })
  expect(await settleRun(run, REASON)).toMatchObject({ state: 'done' })
  expect(run.calls).toEqual(['authority', 'shut', 'setServiceGate', 'releaseWrites', 'routers', 'setGrace', 'track'])
})

test('a switch that comes to its end while it is being put back is finished', async () => {
  const readings = [MONOLITH, SWITCHED]
  const run = memoryRun('cutover', {
    ...FINISH,
    authority: () => Promise.resolve(readings.shift() as AuthorityReading),
    liftFence: () => Promise.reject(new MigrateError('TAKEN_OVER', { what: 'the fence' })),
  })
  expect(await settleRun(run, REASON)).toMatchObject({ state: 'done' })
})

test('a run that was taken over puts nothing back', async () => {
  const run = memoryRun('cutover', {
    authority: () => Promise.resolve(MONOLITH),
    liftFence: () => Promise.reject(new MigrateError('TAKEN_OVER', { what: 'the fence' })),
  })
  await expect(settleRun(run, REASON)).rejects.toMatchObject({ code: 'TAKEN_OVER' })
})

test('a rollback that has not switched takes a new epoch before the gate opens', async () => {
  const opened: unknown[] = []
  const run = memoryRun('rollback', {
    ...UNDO,
    authority: () => Promise.resolve({ ...SWITCHED, epoch: 3 }),
    renew: (_, epoch) => Promise.resolve(epoch + 1),
    setServiceGate: (...args) => {
      opened.push(args)
      return Promise.resolve()
    },
  })
  expect(await settleRun(run, REASON)).toEqual({ state: 'aborted', error: REASON })
  expect(opened).toEqual([[7, 4, 'open']])
})

test('is tried again while a database is away', async () => {
  let away = 2
  const run = memoryRun('cutover', {
    ...UNDO,
    authority: () => Promise.resolve(MONOLITH),
    discardReverse: () =>
      away-- > 0
        ? Promise.reject(
            new MigrateError('DATABASE_UNREACHABLE', { role: 'monolith', address: 'here', reason: 'away' }),
          )
        : Promise.resolve(),
  })
  expect(await settleRun(run, REASON)).toMatchObject({ state: 'aborted' })
  expect(run.calls.filter((call) => call === 'discardReverse')).toHaveLength(3)
})
