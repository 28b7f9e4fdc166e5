import { expect, test } from 'vitest'
import { int8, insert, keyColumnsOf, relationOf, transaction, truncate } from '../../test/support/changes.ts'
import { ZERO_LSN } from '../model/lsn.ts'
import type { Skipped } from './converge.ts'
import { planBatch } from './plan.ts'
import type { Checkpoint } from './ports.ts'

const users = relationOf(1, 'users', ['id:int8*'])
const row = transaction(1, [insert(users, [int8(1)])])
const owed: Skipped = new Map([['1:8:other', { since: 0, lsn: ZERO_LSN }]])
const checkpoint: Checkpoint = {
  ...{ epoch: 1, state: 'apply', commitLsn: ZERO_LSN, hold: false, graceMs: 700 },
  ...{ tracking: null, authorityEpoch: null, token: null },
}
const held = { ...checkpoint, hold: true }
const none: Skipped = new Map()

test.each([
  ['changes are applied exactly', checkpoint, [row], none, { kind: 'exact' }],
  [
    'nothing but positions is written where nothing was changed',
    checkpoint,
    [transaction(1, [])],
    none,
    { kind: 'none' },
  ],
  ['what is discarded is not written', { ...checkpoint, state: 'discard' as const }, [row], none, { kind: 'none' }],
  [
    'under a hold rows converge, with legs older than the grace',
    held,
    [row],
    none,
    { kind: 'converge', legsOlderThan: 700 },
  ],
  ['after a hold they converge while a key is owed', checkpoint, [row], owed, { kind: 'converge' }],
  [
    'under a hold a TRUNCATE makes the batch go in source order, without any leg',
    held,
    [row, transaction(2, [truncate(users)])],
    none,
    { kind: 'replay', legsOlderThan: 0 },
  ],
])('%s', (_, at, due, skipped, plan) => {
  expect(planBatch({ checkpoint: at, due, held: () => [], skipped, keyColumns: keyColumnsOf, now: 0 })).toMatchObject(
    plan,
  )
})

test('a held change that is taken early revokes every leg', () => {
  const skipped: Skipped = new Map([[`1:9:b${int8(1).toString('latin1')}`, { since: 0, lsn: ZERO_LSN }]])
  const plan = planBatch({
    checkpoint: held,
    due: [row],
    held: () => [row],
    skipped,
    keyColumns: keyColumnsOf,
    now: 2_000,
  })
  expect(plan).toMatchObject({ kind: 'converge', legsOlderThan: 0 })
})
