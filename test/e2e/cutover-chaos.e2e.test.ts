// Signals at instants that no failpoint names: inside statements and transactions. Only with MIGRATE_CHAOS=ROUNDS
// (and MIGRATE_SEED to repeat a run); each round prints what it did.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { planCutover, planRollback, type Step } from '../../src/cutover/plan.ts'
import { pick, seededRandom } from '../../fixtures/load/random.ts'
import { type MovingShop, startMovingShop } from '../support/moving-shop.ts'

const ROUNDS = Number(process.env.MIGRATE_CHAOS ?? 0)
const SEED = Number(process.env.MIGRATE_SEED ?? Date.now() % 100_000)
/** longer than nothing, than the fence, than the lease */
const PAUSES = [50, 400, 3_500, 11_500]

const stack = new AsyncDisposableStack()
let moving: MovingShop
const random = seededRandom(SEED)

beforeAll(async () => {
  if (ROUNDS > 0) moving = await startMovingShop(stack)
})
afterAll(() => stack.disposeAsync())

test.runIf(ROUNDS > 0)(
  'a move that is killed or frozen anywhere, with another one behind it',
  { timeout: 3_600_000 },
  async () => {
    for (let round = 1; round <= ROUNDS; round++) {
      const kind = (await moving.standing()).side === 'monolith' ? 'cutover' : 'rollback'
      const steps: readonly Step[] = (kind === 'cutover' ? planCutover('users') : planRollback('users')).slice(1)
      const { name } = pick(steps, random)
      const delay = Math.floor(random() * 25)
      const pause = random() < 1 / 3 ? null : pick(PAUSES, random)
      const next = random() < 1 / 2 ? 'cutover' : 'rollback'
      const line = `seed ${SEED} round ${round}: ${kind} ${name} + ${delay} ms ${pause === null ? 'killed' : `frozen ${pause} ms`}, then ${next}`
      console.log(line)

      const running = await moving.shop.startCli([kind, 'users'])
      await running.stdout.find(new RegExp(`"step":"${name}","state":"begin"`))
      await wait(delay)
      running.child.kill(pause === null ? 'SIGKILL' : 'SIGSTOP')
      const other = moving[next]()
      if (pause !== null) {
        await wait(pause)
        running.child.kill('SIGCONT')
      }
      const [first, second] = await Promise.all([running.exited, other])
      console.log(`  ${first.code ?? first.signal} and ${second.code}`)
      expect([0, 4, 5, 6, null], running.stdout.text()).toContain(first.code)
      expect([0, 4, 5, 6], second.stdout).toContain(second.code)
      // whatever they left: one more run settles it
      await moving[kind]()
      const now = await moving.expectSound().catch((error: unknown) => {
        throw new Error(`${line}\n${running.stdout.text()}\n---\n${second.stdout}`, { cause: error })
      })
      console.log(`  ${now.stage}, epoch ${now.epoch}`)
    }
  },
)

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
