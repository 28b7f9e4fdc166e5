import { describe, expect, test } from 'vitest'
import { asLsn } from '../model/lsn.ts'
import type { ServicePolicy } from '../model/policy.ts'
import { STAGES, type Side, type Stage } from '../model/stage.ts'
import { writeTarget } from './write-target.ts'

const HOLDS = { none: null, active: { run: 3, over: false }, over: { run: 3, over: true } } as const
const FENCES = ['open', 'closed', 'expired'] as const

function policy(stage: Stage, side: Side, fence: ServicePolicy['fence'], hold: keyof typeof HOLDS): ServicePolicy {
  return {
    service: 'users',
    stage,
    percent: 100,
    version: 9,
    authority: { side, epoch: 5 },
    fence,
    hold: HOLDS[hold],
    legs: true,
    halted: [],
    applied: asLsn(1n),
  }
}

// Written down once more by hand: what each stage says of writes when nothing holds them.
const FREE: Record<Stage, Record<Side, string>> = {
  off: { monolith: 'monolith', service: 'between' },
  sync: { monolith: 'monolith', service: 'between' },
  route: { monolith: 'monolith', service: 'between' },
  'dual-write': { monolith: 'monolith and leg', service: 'between' },
  live: { monolith: 'between', service: 'service' },
  complete: { monolith: 'between', service: 'service' },
}

const ALL = STAGES.flatMap((stage) =>
  (['monolith', 'service'] as const).flatMap((side) =>
    FENCES.flatMap((fence) =>
      (['none', 'active', 'over'] as const).flatMap((hold) =>
        [true, false].map((settled) => ({ stage, side, fence, hold, settled })),
      ),
    ),
  ),
)

function expected({ stage, side, fence, hold, settled }: (typeof ALL)[number]): string {
  if (hold === 'active') return 'hold'
  if (side === 'monolith' && fence === 'closed') return 'fence'
  const free = FREE[stage][side]
  if (free === 'between') return free
  return settled ? free : 'laggards'
}

function said(target: ReturnType<typeof writeTarget>): string {
  if (target.to === 'hold') return target.why
  expect(target.epoch).toBe(5)
  return target.to === 'monolith' && target.leg ? 'monolith and leg' : target.to
}

test('the table is total', () => {
  expect(ALL).toHaveLength(6 * 2 * 3 * 3 * 2)
})

test.each(ALL)('a write in $stage, authority $side, fence $fence, hold $hold, settled $settled', (row) => {
  expect(said(writeTarget(policy(row.stage, row.side, row.fence, row.hold), row.settled))).toBe(expected(row))
})

describe('in every state', () => {
  test('a write never goes to the side that lacks the authority', () => {
    for (const { stage, side, fence, hold, settled } of ALL) {
      const target = writeTarget(policy(stage, side, fence, hold), settled)
      if (target.to !== 'hold') expect(target.to).toBe(side)
    }
  })

  test('no leg starts unless the sink has acknowledged the hold', () => {
    const target = writeTarget({ ...policy('dual-write', 'monolith', 'open', 'none'), legs: false }, true)
    expect(target).toEqual({ to: 'monolith', leg: false, epoch: 5 })
  })
})
