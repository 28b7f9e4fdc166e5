import { GATE_WAIT, GRACE, ROUTERS_IDLE } from './limits.ts'
import { planRollback, type RollbackStep } from './plan.ts'
import type { RowKey } from './ports.ts'
import { type Actions, routersIdle, routersObey, type RunContext, runSteps, stepTimeout, waitFor } from './run.ts'
import { verifyAll, verifyTouched } from './verify.ts'

/** Runs a rollback from `live` to `dual-write` from its first step. */
export async function runRollback(context: RunContext) {
  return runSteps(planRollback(context.service), rollbackActions(context), context)
}

/** The steps after the switch back, for a run whose process died there. All of them may run twice. */
export async function finishRollback(context: RunContext) {
  const tail = planRollback(context.service).filter((step) => step.afterSwitch)
  return runSteps(tail, rollbackActions(context), context)
}

/** Takes back what a rollback has done before its switch: the service writes on, under a new epoch. May run twice. */
export async function undoRollback(context: RunContext): Promise<void> {
  const { ports, run } = context
  const { epoch } = await ports.authority()
  // the gate may only open under an epoch that no earlier run has closed it with
  const next = await ports.renew(run, epoch)
  await ports.setServiceGate(run, next, 'open')
  await ports.releaseWrites(run)
  await ports.track(run, false)
}

function rollbackActions(context: RunContext): Actions<RollbackStep> {
  const { ports, run, epoch, maxWriteOutage } = context
  let carried: RowKey[] = []
  let holdEnds = 0
  let deadline = 0
  let token = ''
  let version = 0
  const inTime = (step: string, until: number): void => {
    if (performance.now() <= until) return
    throw stepTimeout(context, step, maxWriteOutage)
  }
  return {
    async track() {
      await ports.track(run, true)
      return {}
    },
    async 'verify-all'() {
      carried = await verifyAll(context, 'reverse')
      return { left: carried.length }
    },
    async hold() {
      // to the end: behind a hold that is over routers would send writes to the closed gate
      const milliseconds = ROUTERS_IDLE + GATE_WAIT + maxWriteOutage + 1_000
      holdEnds = performance.now() + milliseconds
      const held = await ports.holdWrites(run, milliseconds)
      return routersIdle(context, 'hold', held, ROUTERS_IDLE)
    },
    async close() {
      inTime('hold', holdEnds - GATE_WAIT - maxWriteOutage)
      await ports.setServiceGate(run, epoch, 'closed')
      deadline = performance.now() + maxWriteOutage
      token = await ports.emitToken('service', run, 'rollback')
      return {}
    },
    async drain() {
      return waitFor(context, 'drain', deadline - performance.now(), async () =>
        (await ports.tokenSeen('reverse')) === token ? {} : null,
      )
    },
    async 'verify-touched'() {
      return verifyTouched(context, carried)
    },
    async sequences() {
      return { moved: await ports.moveSequences('monolith') }
    },
    async seal() {
      inTime('sequences', deadline)
      await ports.setGrace(run, GRACE)
      await ports.seal('reverse', run, epoch + 1)
      return {}
    },
    async 'switch-back'() {
      inTime('seal', deadline)
      return { epoch: await ports.switchToMonolith(run, epoch) }
    },
    async reopen() {
      await ports.liftFence(run)
      await ports.setServiceGate(run, epoch + 1, 'legs')
      version = await ports.releaseWrites(run, 'dual-write')
      return { version }
    },
    async routers() {
      return routersObey(context, version)
    },
    async finish() {
      await ports.track(run, false)
      return {}
    },
  }
}
