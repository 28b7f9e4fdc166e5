import { DEFAULTS } from '../config/defaults.ts'
import { asMigrateError, EXIT, MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import type { Direction } from '../model/progress.ts'

/** Raises `sync-failed` of one service: at once for what ends the worker, after a while for what it tries again. */
export interface SyncAlarm extends Disposable {
  /** this direction has applied everything up to a position, just now */
  alive(direction: Direction): void
  retrying(direction: Direction, error: Error): void
  /** the worker has ended with this error */
  ended(error: unknown): void
}

export function syncAlarm(alerts: Alerts, service: string, after: number = DEFAULTS.alertAfterMs): SyncAlarm {
  const troubled = new Map<Direction, { error: Error; readonly timer: NodeJS.Timeout }>()
  // an earlier worker may have raised it
  let raised = true

  const raise = (error: unknown): void => {
    raised = true
    const { code, message } = asMigrateError(error)
    const summary = `the sync of ${service} cannot go on: ${message}`
    alerts.raise({ name: 'sync-failed', service, summary, next: `migrate explain ${code}`, context: { code } })
  }
  const calm = (): void => {
    for (const { timer } of troubled.values()) clearTimeout(timer)
    troubled.clear()
  }
  return {
    alive(direction) {
      clearTimeout(troubled.get(direction)?.timer)
      troubled.delete(direction)
      if (!raised || troubled.size > 0 || direction !== 'forward') return
      raised = false
      alerts.resolve('sync-failed', service)
    },
    retrying(direction, error) {
      const known = troubled.get(direction)
      if (known !== undefined) {
        known.error = error
        return
      }
      const timer = setTimeout(() => raise(troubled.get(direction)?.error), after)
      timer.unref()
      troubled.set(direction, { error, timer })
    },
    ended(thrown) {
      calm()
      const error = asMigrateError(thrown)
      if (error.exit !== EXIT.locked) raise(error)
      // without a cause somebody else has the service, so it is synced
      else if (error.cause instanceof MigrateError) raise(error.cause)
    },
    [Symbol.dispose]: calm,
  }
}
