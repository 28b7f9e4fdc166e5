import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { planCutover, planRollback } from '../../src/cutover/plan.ts'
import { FULL } from '../support/full.ts'
import { type MovingShop, startMovingShop } from '../support/moving-shop.ts'

/** Where most is half done; with FULL every place, each with both commands after it. */
const CUTOVER = ['legs.after', 'seal.after', 'fence.after', 'switch.after', 'open.after']
const ROLLBACK = ['close.after', 'reopen.after', 'switch-back.after']

type Kind = 'cutover' | 'rollback'
const stack = new AsyncDisposableStack()
let moving: MovingShop

beforeAll(async () => {
  moving = await startMovingShop(stack)
})
afterAll(() => stack.disposeAsync())

// flips.e2e does it ten times in a row, with a stricter ledger
test.runIf(FULL)(
  'a move that nothing disturbs goes there and back without a failed request behind the router',
  async () => {
    const { ledger } = moving.writers
    const before = ledger.acknowledged
    for (let round = 0; round < 10; round++) {
      await moving.ensure('live')
      await moving.ensure('dual-write')
    }
    expect(ledger.failures.filter(({ by }) => by === 'routed')).toEqual([])
    expect(ledger.acknowledged).toBeGreaterThan(before)
    await moving.expectSound()
  },
)

describe('a killed move', () => {
  test.each(cases())('$kind killed at $place, then $next: one writer, nothing lost', async ({ kind, place, next }) => {
    await moving.ensure(kind === 'cutover' ? 'dual-write' : 'live')
    const before = await moving.standing()
    const killed = await moving[kind]({ MIGRATE_FAILPOINT: `${kind}.${place}=kill` })
    expect([killed.signal, killed.stderr]).toEqual(['SIGKILL', ''])

    const again = await moving[next]()
    const now = await moving.expectSound()
    if (next === kind) {
      expect([again.code, again.stdout]).toEqual([0, expect.stringContaining('"event":"recovered"')])
      expect(now.side).toBe(kind === 'cutover' ? 'service' : 'monolith')
    } else {
      // what had switched is finished and then taken back, what had not is put back: the same side as at the start
      expect([0, 4]).toContain(again.code)
      expect(now.side).toBe(before.side)
    }
    expect(now.epoch).toBeGreaterThanOrEqual(before.epoch)
  })
})

function cases(): { kind: Kind; place: string; next: Kind }[] {
  const cutovers = places('cutover')
  const rollbacks = places('rollback')
  const rounds = Array.from({ length: Math.max(cutovers.length, rollbacks.length) }, (_, i) => i)
  return (FULL ? [0, 1] : [0]).flatMap((turn) =>
    rounds.flatMap((i) => {
      const pairs: [Kind, string | undefined][] = [
        ['cutover', cutovers[i]],
        ['rollback', rollbacks[i]],
      ]
      return pairs.flatMap(([kind, place]) => {
        const other = kind === 'cutover' ? 'rollback' : 'cutover'
        return place === undefined
          ? []
          : [{ kind, place, next: (FULL ? turn === 1 : i % 3 === 2) ? (other as Kind) : kind }]
      })
    }),
  )
}

function places(kind: Kind): string[] {
  const steps = kind === 'cutover' ? planCutover('users') : planRollback('users')
  const all = steps.flatMap(({ name }) => [`${name}.before`, `${name}.after`])
  const few = kind === 'cutover' ? CUTOVER : ROLLBACK
  for (const place of few) if (!all.includes(place)) throw new Error(`${kind} has no place ${place}`)
  return FULL ? all : few
}
