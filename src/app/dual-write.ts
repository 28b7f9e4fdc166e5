import { serviceOf } from '../config/service.ts'
import { openIntents } from '../control/intents.ts'
import { holderName, takeLease } from '../control/lease.ts'
import { readRouters } from '../control/policy.ts'
import { readProgress } from '../control/progress.ts'
import { changeService, illegal, readService } from '../control/services.ts'
import { MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { changePipeline } from '../stores/postgres/pipeline-control.ts'
import { setServiceGate } from '../stores/postgres/service-gate.ts'
import { GRACE } from '../cutover/cutover.ts'
import { type App, installControl, namesOf } from './open.ts'
import { sourcePosition } from './pipeline.ts'

/** How long entering or leaving may take: a grace, the leases of dead routers, a slow machine. */
const PATIENCE = 20_000

/**
 * Enters `dual-write`: the sink holds changes back for the grace (its checkpoint row says so, and every later write of
 * it compares with that row), the service's gate lets legs in, and only then the routers may send them.
 */
export async function enterDualWrite(app: App, name: string, signal: AbortSignal): Promise<{ epoch: number }> {
  return withMove(app, name, signal, async (run) => {
    const { stage } = await readService(app.control, name)
    // again in `dual-write`: a leave that broke off is taken back
    if (stage !== 'route' && stage !== 'dual-write') throw illegal(name, stage, 'dual-write')
    await requireWorker(app, name)
    const names = namesOf(app.config, name)
    const held = await changePipeline(app.service(name), names.forward, run, { hold: true, graceMs: GRACE })
    if (!held) throw new MigrateError('TAKEN_OVER', { what: names.forward })
    const { epoch } = await readAuthority(app.monolith, name)
    await setServiceGate(app.serviceGate(name), name, run, epoch, 'legs')
    const audit = { who: holderName(), action: 'dual-write' }
    await changeService(app.control, name, stage, { stage: 'dual-write', legs: true }, audit, run)
    return { epoch }
  })
}

/**
 * Leaves `dual-write` for `route`: no new legs, all routers say so and their legs have ended; then everything up to now
 * is applied under the hold, and only then the hold drops.
 */
export async function leaveDualWrite(app: App, name: string, signal: AbortSignal): Promise<void> {
  await withMove(app, name, signal, async (run) => {
    const { stage } = await readService(app.control, name)
    if (stage !== 'dual-write') throw illegal(name, stage, 'route')
    await requireWorker(app, name)
    const audit = { who: holderName(), action: 'dual-write --off' }
    const version = await changeService(app.control, name, 'dual-write', { legs: false }, audit, run)
    await until(name, 'routers', signal, async () => {
      const routers = await readRouters(app.control)
      return routers.every((router) => router.version >= version && (router.services[name]?.legs ?? 0) === 0)
    })
    const names = namesOf(app.config, name)
    const target = app.service(name)
    await changePipeline(target, names.forward, run, { graceMs: 0 })
    await until(name, 'legs', signal, async () => (await openIntents(app.control, name)).length === 0)
    const position = await sourcePosition(app, name, 'forward')
    await until(name, 'drain', signal, async () => {
      const progress = await readProgress(app.control, name, 'forward')
      return progress?.applied != null && progress.applied >= position
    })
    const { epoch } = await readAuthority(app.monolith, name)
    await setServiceGate(app.serviceGate(name), name, run, epoch, 'closed')
    await changePipeline(target, names.forward, run, { hold: false, graceMs: 0 })
    await changeService(app.control, name, 'dual-write', { stage: 'route' }, audit, run)
  })
}

async function withMove<T>(app: App, name: string, signal: AbortSignal, work: (run: number) => Promise<T>): Promise<T> {
  serviceOf(app.config, name)
  await installControl(app)
  await using lease = await takeLease(app.control, { name: namesOf(app.config, name).moveLease, signal })
  return await work(lease.epoch)
}

async function requireWorker(app: App, name: string): Promise<void> {
  const progress = await readProgress(app.control, name, 'forward')
  if (progress === null || progress.age > 5 || progress.phase !== 'streaming') {
    throw new MigrateError('WORKER_MISSING', { service: name })
  }
}

async function until(service: string, step: string, signal: AbortSignal, done: () => Promise<boolean>): Promise<void> {
  const started = performance.now()
  while (!(await done())) {
    if (performance.now() - started > PATIENCE) {
      throw new MigrateError('STEP_TIMEOUT', { action: 'dual-write --off', service, step, milliseconds: PATIENCE })
    }
    await pause(50, signal)
  }
}
