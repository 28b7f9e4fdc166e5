// The control database apart, on a server that is stopped (it answers nobody) or killed, in every phase of a migration.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { freezeServer } from '../support/apart-shop.ts'
import { freezeAt } from '../support/frozen.ts'
import { FULL } from '../support/full.ts'
import { type MovingApart, startMovingApart } from '../support/moving-shop.ts'
import { eventually } from '../support/two-sides.ts'
import { write } from '../support/writers.ts'

type Way = 'stopped' | 'killed'
const WAYS: readonly Way[] = ['stopped', 'killed']
const FENCE = 3_000
/** longer than any lease */
const AWAY = 12_500

const stack = new AsyncDisposableStack()
let moving: MovingApart
let giveBack: () => Promise<void> = () => Promise.resolve()

beforeAll(async () => {
  moving = await startMovingApart(stack)
})
// a test that fails must not leave the next ones without it
afterEach(() => giveBack())
afterAll(() => stack.disposeAsync())

describe.each(FULL ? (['sync', 'route', 'dual-write', 'live'] as const) : (['dual-write'] as const))(
  'in %s',
  (stage) => {
    test.each(FULL ? WAYS : WAYS.slice(0, 1))(
      'without the control database (%s) writes go on, and so does everything when it is back',
      async (way) => {
        await moving.reach(stage)
        const { ledger } = moving.writers
        const failures = ledger.failures.length
        await takeAway(way)
        const until = performance.now() + AWAY
        const before = ledger.acknowledged
        for (const args of [['status'], [stage === 'live' ? 'rollback' : 'cutover', 'users']]) {
          const run = await moving.shop.cli(args)
          expect([run.code, run.stdout], args.join(' ')).toEqual([7, expect.stringMatching(/control database/)])
        }
        await eventually(
          () => watchWriters(),
          () => performance.now() > until,
          AWAY + 5_000,
        )
        await giveBack()
        expect(ledger.failures.slice(failures).filter(({ by }) => by === 'routed')).toEqual([])
        expect(ledger.acknowledged).toBeGreaterThan(before + 100)
        expect((await moving.expectSound()).stage).toBe(stage)
      },
    )
  },
)

/** Where a move stands when the control database goes, and who has the authority when everything has settled. */
const PLACES = [
  { place: 'cutover.hold.after', side: 'monolith' },
  { place: 'cutover.fence.before', side: 'monolith' },
  { place: 'cutover.fence.after', side: 'monolith' },
  { place: 'cutover.seal.after', side: 'monolith' },
  { place: 'cutover.switch.after', side: 'service' },
  { place: 'cutover.open.after', side: 'service' },
  { place: 'rollback.hold.after', side: 'service' },
  { place: 'rollback.close.after', side: 'service' },
  { place: 'rollback.seal.after', side: 'service' },
  { place: 'rollback.switch-back.after', side: 'monolith' },
  { place: 'rollback.reopen.after', side: 'monolith' },
] as const
/** held, and no fence that could be over */
const UNFENCED: readonly string[] = ['cutover.hold.after', 'cutover.fence.before']
const FEW = ['cutover.fence.after stopped', 'cutover.switch.after killed']
const CASES = PLACES.flatMap((row) => WAYS.map((way) => ({ ...row, way }))).filter(
  ({ place, way }) => FULL || FEW.includes(`${place} ${way}`),
)

describe('in a move', () => {
  test.each(CASES)('at $place, the control database $way: one writer, and it ends by itself', async (row) => {
    const kind = row.place.startsWith('cutover') ? 'cutover' : 'rollback'
    await moving.reach(kind === 'cutover' ? 'dual-write' : 'live')
    const frozen = await freezeAt(moving.shop, kind, row.place.slice(kind.length + 1))
    await takeAway(row.way)
    const since = performance.now()
    const woken = frozen.wake()
    const switched = (await moving.authority()) === 'service'
    if (kind === 'cutover' && !switched) {
      await acceptedSince(since, 'direct', FENCE + 500)
      // the hold of a run that has not come to its fence ends in its own time
      await acceptedSince(since, 'routed', UNFENCED.includes(row.place) ? 7_000 : FENCE + 1_500)
    }
    // a command that still tries when it is back ends its move itself; else the worker does
    if (!FULL) await giveBack()
    const run = await settledBy(woken)
    if (FULL) expect([run.code, run.stdout]).toEqual([7, expect.stringContaining('MOVE_UNSETTLED')])
    // its statement was given up, or answered at last behind the fence's end
    else expect(switched ? [0] : [6, 7], run.stdout).toContain(run.code)
    await giveBack()
    const now = await moving.settled()
    expect(now.side).toBe(row.side)
    await moving.expectSound()
  })
})

async function takeAway(way: Way): Promise<void> {
  const { controlServer } = moving.shop
  const frozen = way === 'stopped' ? freezeServer(controlServer) : null
  if (frozen === null) await controlServer.stop('immediate')
  giveBack = async () => {
    giveBack = () => Promise.resolve()
    if (frozen !== null) return frozen.thaw()
    await controlServer.restart()
    await moving.disconnect()
    await moving.connect()
  }
}

/** Both gates, asked at once: never do both let a writer pass. */
async function watchWriters(): Promise<void> {
  const probe = 'update users set name = name where false'
  const passed = await Promise.all([write(moving.apps.monolith, probe), write(moving.apps.users, probe)])
  expect(passed.filter((code) => code === null).length).toBeLessThanOrEqual(1)
}

/** The end of a command; the writers are watched until then. */
async function settledBy<T>(running: Promise<T>): Promise<T> {
  const ended = { yes: false }
  const end = running.finally(() => {
    ended.yes = true
  })
  await eventually(
    () => watchWriters(),
    () => ended.yes,
    45_000,
  )
  return end
}

async function acceptedSince(since: number, by: 'direct' | 'routed', within: number): Promise<void> {
  const { ledger } = moving.writers
  const times = by === 'direct' ? ledger.directAt : ledger.routedAt
  await eventually(
    async () => times.at(-1) ?? 0,
    (at) => at > since,
    within + 5_000,
  )
  const first = (times.find((at) => at > since) ?? Number.POSITIVE_INFINITY) - since
  console.log(`${by} writes accepted again after ${Math.round(first)} ms`)
  expect(first, `${by} writes accepted again`).toBeLessThan(within)
}
