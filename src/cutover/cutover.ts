import { GATE_WAIT, GRACE, LEGS_ENDED, ROUTERS_IDLE, SWITCH_RESERVE } from './limits.ts'
import { type CutoverStep, planCutover } from './plan.ts'
import type { RowKey } from './ports.ts'
import { type Actions, routersIdle, routersObey, type RunContext, runSteps, stepTimeout, waitFor } from './run.ts'
import { verifyAll, verifyTouched } from './verify.ts'

/** Runs a cutover from its first step. On an error the caller decides by the authority row (see recover.ts). */
export async function runCutover(context: RunContext) {
  return runSteps(planCutover(context.service), cutoverActions(context), context)
}

/** The steps after the switch, for a run whose process died there. All of them may run twice. */
export async function finishCutover(context: RunContext) {
  const tail = planCutover(context.service).filter((step) => step.afterSwitch)
  return runSteps(tail, cutoverActions(context), context)
}

/**
 * Takes everything back that a cutover has done before its switch. May run twice. The monolith comes first: its writes
 * go on even if the service's database is what has failed; a grace of zero only revokes legs that it need not have.
 */
export async function undoCutover(context: RunContext): Promise<void> {
  const { ports, run } = context
  await ports.liftFence(run)
  await ports.releaseWrites(run)
  await ports.discardReverse(run)
  await ports.setGrace(run, GRACE)
  await ports.track(run, false)
}

function cutoverActions(context: RunContext): Actions<CutoverStep> {
  const { ports, run, epoch, service, maxWriteOutage } = context
  let carried: RowKey[] = []
  let holdEnds = 0
  let deadline = 0
  let fence = 0n
  let tokens: { forward: string; reverse: string } | null = null
  let version = 0
  const left = (): number => deadline - SWITCH_RESERVE - performance.now()
  /** Behind the fence's time the monolith writes again: what a step finds then says nothing. */
  const fenced = async <T>(step: string, work: () => Promise<T>): Promise<T> => {
    try {
      if (left() > 0) return await work()
    } catch (error) {
      if (left() > 0) throw error
    }
    throw stepTimeout(context, step, maxWriteOutage)
  }

  return {
    async track() {
      await ports.track(run, true)
      return {}
    },
    async 'verify-all'() {
      carried = await verifyAll(context, 'forward')
      return { left: carried.length }
    },
    async hold() {
      // until the fence is there: routers hold by themselves while that is closed
      const milliseconds = ROUTERS_IDLE + LEGS_ENDED + GATE_WAIT + 500
      holdEnds = performance.now() + milliseconds
      const held = await ports.holdWrites(run, milliseconds)
      return routersIdle(context, 'hold', held, ROUTERS_IDLE)
    },
    async legs() {
      await ports.setGrace(run, 0)
      return waitFor(context, 'legs', LEGS_ENDED, async () => ((await ports.openLegs()) === 0 ? {} : null))
    },
    async fence() {
      // a hold that is over lets writes through: they would meet the fence
      if (performance.now() > holdEnds - GATE_WAIT) {
        throw stepTimeout(context, 'hold', LEGS_ENDED)
      }
      fence = await ports.takeFence(run, maxWriteOutage)
      // later than the server's by the answer's way back; the server decides in the end
      deadline = performance.now() + maxWriteOutage
      const reverse = await ports.emitToken('service', run, fence.toString())
      tokens = { forward: `${service} ${run} ${fence}`, reverse }
      return { fence: fence.toString() }
    },
    async drain() {
      const wanted = tokens
      const seen = async () => {
        const [forward, reverse] = await Promise.all([ports.tokenSeen('forward'), ports.tokenSeen('reverse')])
        return forward === wanted?.forward && reverse === wanted?.reverse ? {} : null
      }
      return fenced('drain', () => waitFor(context, 'drain', left(), seen))
    },
    async 'verify-touched'() {
      return fenced('verify-touched', () => verifyTouched(context, carried))
    },
    async sequences() {
      return fenced('sequences', async () => ({ moved: await ports.moveSequences('service') }))
    },
    async seal() {
      return fenced('seal', async () => {
        await ports.seal('forward', run, epoch + 1)
        return {}
      })
    },
    async switch() {
      return { epoch: await ports.switchToService(run, fence, epoch) }
    },
    async open() {
      await ports.shut()
      await ports.setServiceGate(run, epoch + 1, 'open')
      version = await ports.releaseWrites(run, 'live')
      return { version }
    },
    async routers() {
      return routersObey(context, version)
    },
    async finish() {
      await ports.setGrace(run, GRACE)
      await ports.track(run, false)
      return {}
    },
  }
}
