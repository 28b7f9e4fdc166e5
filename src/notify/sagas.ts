import { MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import { sagaAlertMemory } from '../saga/alerts.ts'
import { openAlerts } from './alerts.ts'
import type { Target } from './target.ts'

export interface SagaAlertsOptions {
  /** who is told: `{ webhook, secret? }` or `{ command: [program, …arguments] }`, as in migrate.yaml */
  readonly targets: readonly Target[]
  /** named in messages; default "sagas" */
  readonly project?: string
  /** the whole environment of commands; default none */
  readonly env?: Readonly<Record<string, string>>
  /** says what could not be delivered; default a warning of the process */
  readonly log?: (line: string) => void
}

/**
 * For `new Sagas(pool, { alerts })`: signed webhooks and commands hear once when a saga is stuck, stranded, late or tried
 * in vain, and once when that is over, however many processes run sagas. Close it after `run` has resolved.
 */
export function openSagaAlerts(pool: ConnectionPool, options: SagaAlertsOptions): Alerts & AsyncDisposable {
  const { targets, project = 'sagas', env = {}, log = (line) => process.emitWarning(line) } = options
  for (const target of targets) {
    if ('webhook' in target && !URL.canParse(target.webhook)) {
      // it may hold a secret: not told what it is
      throw new MigrateError('API_USAGE', { reason: 'a webhook is no URL', remedy: 'Give one with https:// in front.' })
    }
  }
  return openAlerts({ project, targets, memory: sagaAlertMemory(pool), env, log })
}
