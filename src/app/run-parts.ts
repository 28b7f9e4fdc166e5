import type { Cron } from 'croner'
import { leaseHolder } from '../control/lease.ts'
import { MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import type { Stage } from '../model/stage.ts'
import type { ServiceReport } from '../reconcile/report.ts'
import { type App, namesOf, openApp } from './open.ts'
import { reconcileServices } from './reconcile.ts'
import { closeSoon, serve, type ServeOptions } from './route.ts'
import { runAt } from './schedule.ts'
import type { Part, PartEvent } from './supervise.ts'
import { followService, type SyncEvents } from './sync.ts'
import { syncAlarm } from './sync-alarm.ts'

export interface RunEvents {
  part(part: string, event: PartEvent): void
  /** a service was first seen at this stage, or has moved there */
  stage(service: string, stage: Stage): void
  listening: ServeOptions['onListening']
  sync(service: string): SyncEvents
  compared(report: ServiceReport): void
  /** a comparison was not made; the next one comes */
  notCompared(error: MigrateError): void
  log(part: string, line: string): void
}

interface Surroundings {
  readonly alerts: Alerts
  readonly events: RunEvents
}

export const ROUTER = 'router'
export const RECONCILE = 'reconcile'

export function syncName(service: string): string {
  return `sync ${service}`
}

export function syncPart({ config }: App, service: string, { alerts, events }: Surroundings): Part {
  const name = syncName(service)
  const app = openApp(config, `sync/${service}`)
  const alarm = syncAlarm(alerts, service)
  const told = events.sync(service)
  return {
    name,
    async holder() {
      const found = await leaseHolder(app.control, namesOf(config, service).syncLease)
      // it is synced, so what ails this process is nobody's trouble
      if (found !== null) alarm[Symbol.dispose]()
      return found
    },
    async run(signal) {
      const result = await followService(app, service, { once: false, events: told, alarm, signal })
      if (result.kind !== 'refused') return
      for (const { check, message, fix } of result.findings) events.log(name, `${check}  ${message}\n    ${fix}`)
      throw new MigrateError('CHECK_FAILED', { service, count: result.findings.length })
    },
    onFailure(error, final) {
      if (final) alarm.ended(error)
      else alarm.retrying('forward', error)
    },
    async close() {
      alarm[Symbol.dispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

export function routerPart({ config }: App, listen: ServeOptions['listen'], { alerts, events }: Surroundings): Part {
  return {
    name: ROUTER,
    holder: nobody,
    async run(signal) {
      const app = openApp(config, 'router')
      try {
        await serve(app, {
          ...{ listen, signal, alerts },
          log: (line) => events.log(ROUTER, line),
          onListening: events.listening,
        })
      } finally {
        await closeSoon(app)
      }
    },
  }
}

export function reconcilePart({ config }: App, times: Cron, { alerts, events }: Surroundings): Part {
  return {
    name: RECONCILE,
    holder: nobody,
    run: (signal) =>
      runAt({ times, signal, onNext: () => undefined, onFailure: tell }, async () => {
        await using app = openApp(config, 'reconcile')
        await reconcileServices(app, null, {
          ...{ tables: [], strict: false, offline: false, signal, alerts },
          onRange: () => undefined,
          onService: events.compared,
        })
      }),
  }

  function tell(error: MigrateError): void {
    // before the first sync there is nothing to say
    if (error.code !== 'NOTHING_TO_COMPARE') events.notCompared(error)
  }
}

function nobody(): Promise<null> {
  return Promise.resolve(null)
}
