import { describe, expect, test } from 'vitest'
import { asLsn } from '../model/lsn.ts'
import type { ServicePolicy } from '../model/policy.ts'
import { STAGES, type Side, type Stage } from '../model/stage.ts'
import { writeTarget } from './write-target.ts'

const HOLDS = { none: null, active: { run: 3, leftMs: 1 }, over: { run: 3, leftMs: 0 } } as const
/** the last run at the fence: one before the hold's, the hold's own, a newer one */
const FENCE_RUNS = [2, 3, 4] as const
const FENCES = ['open', 'closed', 'expired'] as const

function policy({ stage, side, fence, hold, fenceRun }: Omit<(typeof ALL)[number], 'settled'>): ServicePolicy {
  return {
    service: 'users',
    stage,
    percent: 100,
    version: 9,
    authority: { side, epoch: 5 },
    fence,
    fenceRun,
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
        FENCE_RUNS.flatMap((fenceRun) =>
          [true, false].map((settled) => ({ stage, side, fence, hold, fenceRun, settled })),
        ),
      ),
    ),
  ),
)

function expected({ stage, side, fence, hold, fenceRun, settled }: (typeof ALL)[number]): string {
  const fenceWentBy = fenceRun >= 3 && side === 'monolith' && (fence === 'open' || fence === 'expired')
  if (hold === 'active' && !fenceWentBy) return 'hold'
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
  expect(ALL).toHaveLength(6 * 2 * 3 * 3 * 3 * 2)
})

test.each(ALL)('a write in $stage, authority $side, fence $fence of $fenceRun, hold $hold, settled $settled', (row) => {
  expect(said(writeTarget(policy(row), row.settled))).toBe(expected(row))
})

describe('in every state', () => {
  test('a write never goes to the side that lacks the authority', () => {
    for (const row of ALL) {
      const target = writeTarget(policy(row), row.settled)
      if (target.to !== 'hold') expect(target.to).toBe(row.side)
    }
  })

  test('no leg starts unless the sink has acknowledged the hold', () => {
    const free = { stage: 'dual-write', side: 'monolith', fence: 'open', hold: 'none', fenceRun: 3 } as const
    const target = writeTarget({ ...policy(free), legs: false }, true)
    expect(target).toEqual({ to: 'monolith', leg: false, epoch: 5 })
  })
})
