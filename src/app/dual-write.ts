import { DEFAULTS } from '../config/defaults.ts'
import { serviceOf } from '../config/service.ts'
import { markRevoked, openIntents } from '../control/intents.ts'
import { sinceRollback } from '../control/journal.ts'
import { holderName, takeLease } from '../control/lease.ts'
import { readRouters } from '../control/policy.ts'
import { readProgress } from '../control/progress.ts'
import { changeService, illegal, readService } from '../control/services.ts'
import { countUnsettled } from '../control/unsettled.ts'
import { GRACE } from '../cutover/limits.ts'
import { MigrateError } from '../errors.ts'
import type { Lsn } from '../model/lsn.ts'
import { pause } from '../model/pause.ts'
import { readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { emitFence } from '../stores/postgres/pass-fence.ts'
import { changePipeline, type PipelineChange } from '../stores/postgres/pipeline-control.ts'
import { separateSequences } from '../stores/postgres/sequences.ts'
import { setServiceGate } from '../stores/postgres/service-gate.ts'
import { settleInterrupted } from './interrupted.ts'
import { legsGate } from './legs-gate.ts'
import { type App, installControl, namesOf } from './open.ts'
import { sourcePosition } from './pipeline.ts'
import { LONGEST_ANSWER } from './settle-legs.ts'
import { legsSettled } from './legs-settled.ts'
import { examineSource } from './slot-fault.ts'
import { readTables } from './tables.ts'

/** How long entering or leaving may take: a grace, the leases of dead routers, a slow machine. */
const PATIENCE = 20_000
/** A worker that takes up its stream again is not missing, milliseconds. */
const WORKER_PATIENCE = 4_000

/**
 * Enters `dual-write`: the sink holds changes back for the grace (its checkpoint row says so, and every later write of
 * it compares with that row), the service's gate lets legs in, and only then the routers may send them.
 */
export async function enterDualWrite(app: App, name: string, signal: AbortSignal): Promise<{ epoch: number }> {
  return withMove(app, name, signal, async (run) => {
    const { stage } = await readService(app.control, name)
    // again in `dual-write`: a leave that broke off is taken back
    if (stage !== 'route' && stage !== 'dual-write') throw illegal(name, stage, 'dual-write')
    await requireWorker(app, name, signal)
    await changeForward(app, name, run, { hold: true, graceMs: GRACE })
    const tables = await readTables(app.monolith, name, serviceOf(app.config, name))
    await separateSequences(app.monolith, app.service(name), tables)
    const { epoch } = await readAuthority(app.monolith, name)
    await lateWritesOver(app, name, signal)
    await setServiceGate(app.serviceGate(name), name, run, epoch, legsGate(app.config, name))
    const audit = { who: holderName(), action: 'dual-write' }
    await changeService(app.control, name, stage, { stage: 'dual-write', legs: true }, audit, run)
    return { epoch }
  })
}

/**
 * Leaves `dual-write` for `route`: no new legs, all routers say so and open ones are revoked; the gate closes, so that
 * no leg can end any more; then everything up to now is applied under the hold, and only then the hold drops. What takes
 * too long is put back: legs go on.
 */
export async function leaveDualWrite(app: App, name: string, signal: AbortSignal): Promise<void> {
  await withMove(app, name, signal, async (run) => {
    const { stage } = await readService(app.control, name)
    if (stage !== 'dual-write') throw illegal(name, stage, 'route')
    if (await isBroken(app, name)) return leaveBroken(app, name, run, signal)
    await requireWorker(app, name, signal)
    const { epoch } = await readAuthority(app.monolith, name)
    const audit = { who: holderName(), action: 'dual-write --off' }
    try {
      const version = await changeService(app.control, name, 'dual-write', { legs: false }, audit, run)
      await legsEnded(app, name, run, version, signal)
      await setServiceGate(app.serviceGate(name), name, run, epoch, 'closed')
      await applied(app, name, await sourcePosition(app, name, 'forward'), signal)
      const fence = await emitFence(app.service(name), name)
      await until(name, 'extra rows', signal, () => legsSettled(app, name, fence))
    } catch (error) {
      await changeForward(app, name, run, { graceMs: GRACE })
      await setServiceGate(app.serviceGate(name), name, run, epoch, legsGate(app.config, name))
      await changeService(app.control, name, 'dual-write', { legs: true }, audit, run)
      throw error
    }
    await changeForward(app, name, run, { hold: false, graceMs: 0 })
    await changeService(app.control, name, 'dual-write', { stage: 'route' }, audit, run)
  })
}

/** The sync can never go on: its rows have to be copied again, and nothing can be waited for. */
async function isBroken(app: App, name: string): Promise<boolean> {
  const checkpoint = await readCheckpoint(app.service(name), namesOf(app.config, name).forward)
  if (checkpoint === null) return false
  return (await examineSource(app, name, 'forward', checkpoint.commitLsn)).fault !== null
}

/** Without a sync that could revoke legs the closed gate ends them; what they have written goes with the next copy. */
async function leaveBroken(app: App, name: string, run: number, signal: AbortSignal): Promise<void> {
  const audit = { who: holderName(), action: 'dual-write --off', reason: 'its sync is broken' }
  const version = await changeService(app.control, name, 'dual-write', { legs: false }, audit, run)
  await routersObey(app, name, version, signal)
  const { epoch } = await readAuthority(app.monolith, name)
  await setServiceGate(app.serviceGate(name), name, run, epoch, 'closed')
  const { idempotent } = serviceOf(app.config, name)
  await markRevoked(app.control, await openIntents(app.control, name), idempotent ? 'revoked' : 'unsettled')
  await changeForward(app, name, run, { hold: false, graceMs: 0 })
  await changeService(app.control, name, 'dual-write', { stage: 'route' }, audit, run)
}

async function legsEnded(app: App, name: string, run: number, version: number, signal: AbortSignal): Promise<void> {
  await routersObey(app, name, version, signal)
  await changeForward(app, name, run, { graceMs: 0 })
  await until(name, 'legs', signal, async () => (await openIntents(app.control, name)).length === 0)
  // one that may still run would spoil rows that the sync, without a hold, expects to be as it left them
  const settled = async (): Promise<boolean> => (await countUnsettled(app.control, name)) === 0
  const longest = LONGEST_ANSWER + serviceOf(app.config, name).maxRequestTime
  await until(name, 'unsettled', signal, settled, PATIENCE + longest)
}

function routersObey(app: App, name: string, version: number, signal: AbortSignal): Promise<void> {
  return until(name, 'routers', signal, async () => {
    const routers = await readRouters(app.control)
    return routers.every((router) => router.version >= version && (router.services[name]?.legs ?? 0) === 0)
  })
}

/**
 * A service without `idempotent()` cannot tell a second leg from a write that a router sent it while it had the
 * authority, and gave up: that would count on one side only. So after a rollback its gate stays closed until no such
 * write can come any more.
 */
async function lateWritesOver(app: App, name: string, signal: AbortSignal): Promise<void> {
  const { idempotent, maxRequestTime } = serviceOf(app.config, name)
  if (idempotent) return
  const since = await sinceRollback(app.control, name)
  if (since !== null && since < maxRequestTime) await pause(maxRequestTime - since, signal)
}

async function applied(app: App, name: string, position: Lsn, signal: AbortSignal): Promise<void> {
  await until(name, 'drain', signal, async () => {
    const progress = await readProgress(app.control, name, 'forward')
    return progress?.applied != null && progress.applied >= position
  })
}

async function withMove<T>(app: App, name: string, signal: AbortSignal, work: (run: number) => Promise<T>): Promise<T> {
  serviceOf(app.config, name)
  await installControl(app)
  await using lease = await takeLease(app.control, { name: namesOf(app.config, name).moveLease, signal })
  // the stage says nothing about who writes while a cutover or rollback is half done
  await settleInterrupted({
    ...{ app, name, action: 'dual-write', run: lease.epoch, signal },
    maxWriteOutage: DEFAULTS.writeOutageMs,
    onStep: () => undefined,
    onRecovered: () => undefined,
  })
  return await work(lease.epoch)
}

async function changeForward(app: App, name: string, run: number, change: PipelineChange): Promise<void> {
  const { forward } = namesOf(app.config, name)
  const changed = await changePipeline(app.service(name), forward, run, change)
  if (!changed) throw new MigrateError('TAKEN_OVER', { what: forward })
}

async function requireWorker(app: App, name: string, signal: AbortSignal): Promise<void> {
  const giveUp = performance.now() + WORKER_PATIENCE
  for (;;) {
    const progress = await readProgress(app.control, name, 'forward')
    if (progress !== null && progress.age <= 5 && progress.phase === 'streaming') return
    if (performance.now() > giveUp) throw new MigrateError('WORKER_MISSING', { service: name })
    await pause(100, signal)
  }
}

async function until(
  service: string,
  step: string,
  signal: AbortSignal,
  done: () => Promise<boolean>,
  patience = PATIENCE,
): Promise<void> {
  const started = performance.now()
  while (!(await done())) {
    if (performance.now() - started > patience) {
      throw new MigrateError('STEP_TIMEOUT', {
        ...{ action: 'dual-write --off', service, step, milliseconds: patience, waiting: '' },
      })
    }
    await pause(50, signal)
  }
}
