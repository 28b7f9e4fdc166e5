// Two routers; one is killed, stopped, or cut off from the control database or from the monolith's, in every phase.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RouterApart } from '../support/apart-shop.ts'
import { freezeAt } from '../support/frozen.ts'
import { FULL } from '../support/full.ts'
import { type MovingApart, startMovingApart } from '../support/moving-shop.ts'
import { eventually } from '../support/two-sides.ts'

const LOSSES = ['killed', 'stopped', 'without control', 'without the monolith'] as const
type Loss = (typeof LOSSES)[number]
const stack = new AsyncDisposableStack()
let moving: MovingApart
let stays: RouterApart
let victim: RouterApart

beforeAll(async () => {
  moving = await startMovingApart(stack)
  ;[stays, victim] = moving.apart as [RouterApart, RouterApart]
})
afterAll(() => stack.disposeAsync())

describe.each(FULL ? (['sync', 'route', 'dual-write', 'live'] as const) : (['dual-write'] as const))(
  'in %s',
  (stage) => {
    test.each(FULL ? LOSSES : (['without control'] as const))(
      'a router %s is named, and nobody else notices',
      async (loss) => {
        await moving.reach(stage)
        const { ledger } = moving.writers
        const failures = ledger.failures.length
        const { url } = victim
        const before = ledger.acknowledged
        const back = await lose(loss)
        if (loss !== 'without the monolith') await eventually(silence, (seconds) => seconds > 3)
        if (stage === 'dual-write' || stage === 'live') {
          const run = await moving[stage === 'live' ? 'rollback' : 'cutover']()
          // one that hears of nothing new is found out when it does not hold
          expect(run.code).toBe(loss === 'without the monolith' ? 6 : 4)
          expect(run.stdout).toContain(nameOf(victim))
        }
        const status = await moving.shop.cli(['status'])
        expect(routersIn(status.stdout).find(({ instance }) => instance === nameOf(victim))).toBeDefined()
        await eventually(
          async () => ledger.acknowledged,
          (now) => now > before + 100,
        )
        await back()
        const failed = ledger.failures.slice(failures).filter(({ via }) => via !== null)
        // cut off it goes on by what it knows; stopped or dead it cannot answer
        const allowed = loss === 'killed' || loss === 'stopped' ? failed.filter(({ via }) => via === url) : []
        expect(failed).toEqual(allowed)
        expect((await moving.expectSound()).stage).toBe(stage)
      },
    )
  },
)

/** What becomes of a move whose routers hold when one is lost. */
const MOVES = [
  // it holds and has said so: the dead do not write; one that is cut off hears of nothing, so its writes wait
  { place: 'hold.after', loss: 'killed', ends: 'done' },
  { place: 'hold.after', loss: 'stopped', ends: 'done' },
  { place: 'hold.after', loss: 'without control', ends: 'done' },
  { place: 'hold.after', loss: 'without the monolith', ends: 'done' },
  { place: 'hold.before', loss: 'killed', ends: 'given up' },
  { place: 'hold.before', loss: 'stopped', ends: 'given up' },
  { place: 'hold.before', loss: 'without control', ends: 'given up' },
  { place: 'hold.before', loss: 'without the monolith', ends: 'given up' },
] as const
const FEW = ['cutover hold.after stopped', 'rollback hold.before without the monolith']
const CASES = (['cutover', 'rollback'] as const)
  .flatMap((kind) => MOVES.map((move) => ({ kind, ...move })))
  .filter(({ kind, place, loss }) => FULL || FEW.includes(`${kind} ${place} ${loss}`))

describe('in a move', () => {
  test.each(CASES)('$kind $place: a router $loss, the move is $ends', async ({ kind, place, loss, ends }) => {
    await moving.reach(kind === 'cutover' ? 'dual-write' : 'live')
    const { ledger } = moving.writers
    const failures = ledger.failures.length
    const { url } = victim
    const frozen = await freezeAt(moving.shop, kind, place)
    const back = await lose(loss)
    const run = await frozen.wake()
    expect(run.code, run.stdout).toBe(ends === 'done' ? 0 : 6)
    if (ends === 'given up') expect(run.stdout).toContain(`router ${nameOf(victim)}`)
    await back()
    const others = ledger.failures.slice(failures).filter(({ via }) => via !== url && via !== null)
    expect(others).toEqual([])
    expect((await moving.expectSound()).side).toBe((kind === 'cutover') === (ends === 'done') ? 'service' : 'monolith')
  })
})

/** Takes the second router away; what it returns brings it (or one in its place) back. */
async function lose(loss: Loss): Promise<() => Promise<void>> {
  switch (loss) {
    case 'killed':
      await victim.kill9()
      return async () => {
        const dead = nameOf(victim)
        victim = await moving.shop.startRouterApart()
        moving.routers = [stays, victim]
        await eventually(live, (instances) => !instances.includes(dead))
      }
    case 'stopped':
      victim.child.kill('SIGSTOP')
      return async () => void victim.child.kill('SIGCONT')
    case 'without control':
    case 'without the monolith': {
      const way = victim.ways[loss === 'without control' ? 'control' : 'monolith']
      way.freeze()
      return () => way.restore()
    }
  }
}

function nameOf(router: RouterApart): string {
  return router.instance
}

async function live(): Promise<string[]> {
  const text = 'select instance from migrate.router where expires_at > clock_timestamp()'
  return (await moving.sides.control.query(text)).rows.map(({ instance }) => instance as string)
}

/** Seconds since the second router was heard of. */
async function silence(): Promise<number> {
  const text =
    'select extract(epoch from clock_timestamp() - seen_at)::float8 as s from migrate.router where instance = $1'
  return (await moving.sides.control.query(text, [nameOf(victim)])).rows[0].s
}

function routersIn(stdout: string): { instance: string; age: number }[] {
  return (JSON.parse(stdout) as { data: { routers: { instance: string; age: number }[] } }).data.routers
}
