import { hostname } from 'node:os'
import { serviceOf } from '../config/service.ts'
import { intentStore } from '../control/intents.ts'
import { holderName } from '../control/lease.ts'
import { forgetRouter, readRouters, routerControl } from '../control/policy.ts'
import { changeService, illegal, readService, type ServiceState } from '../control/services.ts'
import { SecondLegs } from '../dualwrite/leg.ts'
import type { Alerts } from '../model/alert.ts'
import { STAGE_RULES } from '../model/stage.ts'
import { type RunningRouter, SYSTEM_CLOCK } from '../router/options.ts'
import { serveRouter } from '../router/server.ts'
import { within } from '../model/within.ts'
import { type App, installControl } from './open.ts'

/** Sets the share of the reads that goes to the service; from stage `sync` this enters `route`, null goes back there. */
export async function setPercent(app: App, name: string, percent: number | null) {
  serviceOf(app.config, name)
  await installControl(app)
  const before = await readService(app.control, name)
  const action = percent === null ? 'route set --off' : `route set --percent ${percent}`
  const audit = { who: holderName(), action }
  if (percent === null) {
    if (before.stage !== 'route') throw illegal(name, before.stage, 'sync')
    await changeService(app.control, name, 'route', { stage: 'sync', percent: 0 }, audit)
  } else if (before.stage === 'sync') {
    await changeService(app.control, name, 'sync', { stage: 'route', percent }, audit)
  } else if (STAGE_RULES[before.stage].reads === 'split') {
    await changeService(app.control, name, before.stage, { percent }, audit)
  } else {
    throw illegal(name, before.stage, 'route')
  }
  return { before, after: await readService(app.control, name) }
}

/** What every router obeys now, and which routers there are. */
export async function showRoutes(app: App) {
  await installControl(app)
  const services: ServiceState[] = []
  for (const name of Object.keys(app.config.services)) services.push(await readService(app.control, name))
  return { services, routers: await readRouters(app.control) }
}

export interface ServeOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly log: (line: string) => void
  /** hears of second legs that became dead letters */
  readonly alerts: Alerts
  readonly onListening: (router: RunningRouter, instance: string) => void
  readonly signal: AbortSignal
}

/** Runs a router until the signal aborts, then drains it. Throws PORT_IN_USE. */
export async function serve(app: App, options: ServeOptions): Promise<{ counters: object }> {
  await installControl(app)
  const instance = `${hostname()}/${process.pid}`
  const control = routerControl(app.control, app.monolith)
  const legs = new SecondLegs({
    intents: intentStore(app.control),
    services: new Map(Object.entries(app.config.services)),
    clock: SYSTEM_CLOCK,
    alerts: options.alerts,
    log: options.log,
  })
  try {
    const router = await serveRouter({
      listen: options.listen,
      monolith: app.config.monolith.http,
      services: Object.entries(app.config.services).map(([name, { http, routes }]) => ({ name, http, routes })),
      control,
      secondLeg: legs,
      instance,
      log: options.log,
    })
    options.onListening(router, instance)
    await new Promise<void>((resolve) => {
      if (options.signal.aborted) resolve()
      else options.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    await router.close()
    return { counters: router.counters() }
  } finally {
    await legs.close()
    // Nobody needs to wait for the lease of an instance that has drained, or that never listened.
    await within(forgetRouter(app.control, instance), CLOSE_MS).catch((error: Error) => {
      options.log(`this router stays listed until its lease runs out: ${error.message}`)
    })
    await closeSoon(control)
  }
}

/** What a database that does not answer may add to the end of a router. */
const CLOSE_MS = 1_000

/** Closes, and goes on without waiting for a database that does not answer: a router that has drained must end. */
export async function closeSoon(resource: AsyncDisposable): Promise<void> {
  const closed = Promise.resolve(resource[Symbol.asyncDispose]())
  await within(closed, CLOSE_MS).catch(() => undefined)
}
