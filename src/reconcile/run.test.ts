import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareWorld, type Event, MemoryStore, MovingWorld } from '../../test/support/moving-world.ts'

const key = fc.nat(11)
const event: fc.Arbitrary<Event> = fc.oneof(
  // few values, so that a row comes back to one that it had
  fc.record({ kind: fc.constant('write' as const), key, value: fc.constantFrom('a', 'b', null) }),
  fc.record({ kind: fc.constant('write' as const), key: fc.nat(2), value: fc.constantFrom('a', 'b', null) }),
  fc.record({ kind: fc.constant('apply' as const), count: fc.nat(3) }),
  fc.record({ kind: fc.constant('leg' as const), key }),
)
const spoilt = fc.uniqueArray(fc.tuple(key, fc.constantFrom('wrong', null)), { selector: ([at]) => at, maxLength: 4 })
const KEYS = Array.from({ length: 10 }, (_, i) => i)

describe('while writes flow', () => {
  test('only what somebody else has spoilt is called drift, and all of it once it is quiet', async () => {
    await fc.assert(
      fc.asyncProperty(
        spoilt,
        fc.array(event, { maxLength: 120 }),
        fc.integer({ min: 1, max: 12 }),
        async (wrong, events, rangeRows) => {
          const world = new MovingWorld()
          const store = new MemoryStore()
          world.seed(KEYS)
          for (const [at, value] of wrong) world.spoil(at, value)
          const before = new Set(world.different())
          world.plan(events)
          await compareWorld(world, store, { rangeRows })
          for (const { key: found } of store.drift.values()) expect(before).toContain(Number(found[0]))

          world.settle()
          const report = await compareWorld(world, store, { rangeRows })
          const left = world.different()
          expect([...store.drift.keys()].map(Number).toSorted((a, b) => a - b)).toEqual(left)
          if (report.outcome === 'partial') return
          expect(report.outcome).toBe(left.length === 0 ? 'verified' : 'drift')
        },
      ),
      { numRuns: 600 },
    )
  })

  test('a row that only the copy shows has to show the same version twice', async () => {
    const world = new MovingWorld()
    const store = new MemoryStore()
    world.seed([1])
    const come = { kind: 'write', key: 5, value: 'a' } as const
    const go = { kind: 'write', key: 5, value: null } as const
    const apply = (count: number) => ({ kind: 'apply', count }) as const
    // its delete is under way; after the fence it has come again, and gone again before the authority is looked at
    world.now(come, apply(1), go)
    const statements = ['digest', 'hashes', 'look'].flatMap(() => [apply(0), apply(0)])
    world.plan([...statements, come, apply(2), apply(0), go])
    await compareWorld(world, store, { rangeRows: 5 })
    expect([...store.drift.keys()]).toEqual([])
  })
})

describe('a run that is broken off', () => {
  test('is gone on with: each range is looked at once in a pass, whatever the place', async () => {
    for (let place = 1; place <= 5; place++) {
      const world = new MovingWorld()
      const store = new MemoryStore()
      world.seed(KEYS)
      let left = place
      const failpoint = async (): Promise<void> => {
        if (--left === 0) throw new Error('killed')
      }
      await expect(compareWorld(world, store, { rangeRows: 2, failpoint })).rejects.toThrow('killed')
      const report = await compareWorld(world, store, { rangeRows: 2 })
      // killed after its last range the pass was through: the next run makes one of its own
      expect(report).toMatchObject({ outcome: 'verified', ranges: place === 5 ? 5 : 5 - place })
      expect(new Set(world.looked).size).toBe(5)
    }
  })
})
