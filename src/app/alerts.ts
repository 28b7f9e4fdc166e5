import { environment } from '../config/environment.ts'
import { alertMemory } from '../control/alerts.ts'
import { asMigrateError, type MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import type { ServiceReport } from '../reconcile/report.ts'
import { openAlerts as open } from '../notify/alerts.ts'
import { testMessage } from '../notify/message.ts'
import { deliver, targetName } from '../notify/target.ts'
import type { App } from './open.ts'

/** Tells the targets of the configuration, and notes in the control database what is raised. Close it before the app. */
export function openAlerts(app: App, log: (line: string) => void): Alerts & AsyncDisposable {
  const { alerts: targets, project } = app.config
  return open({ project, targets, memory: alertMemory(app.control), env: commandEnvironment(), log })
}

/** Sends a test to each target, once. */
export async function testAlerts({ alerts, project }: App['config'], signal: AbortSignal): Promise<TestedTarget[]> {
  const message = testMessage(project, new Date())
  return Promise.all(
    alerts.map(async (target) => {
      const name = targetName(target)
      try {
        await deliver(target, message, { timeout: 5_000, env: commandEnvironment(), signal })
        return { target: name, error: null }
      } catch (error) {
        signal.throwIfAborted()
        return { target: name, error: asMigrateError(error) }
      }
    }),
  )
}

export interface TestedTarget {
  readonly target: string
  readonly error: MigrateError | null
}

/** Tells of what a comparison has found; a part of the tables that is clean says nothing of the rest. */
export function tellDrift(alerts: Alerts, { service, outcome, tables }: ServiceReport, complete: boolean): void {
  if (outcome === 'verified' && complete) alerts.resolve('drift', service)
  if (outcome !== 'drift') return
  const bad = tables.filter((table) => table.outcome === 'drift')
  const rows = bad.reduce((sum, { drift }) => sum + drift.missing + drift.extra + drift.different, 0)
  const names = bad.map(({ table }) => table).join(', ')
  alerts.raise({
    ...{ name: 'drift', service, summary: `${rows} row(s) of ${service} differ from the monolith, in ${names}` },
    next: `migrate reconcile ${service}`,
    context: { rows, tables: names },
  })
}

/** Enough for a program to be found and to write somewhere; the rest of our environment has passwords. */
function commandEnvironment(): Record<string, string> {
  const env = environment()
  const given = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'].flatMap((name) => {
    const value = env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return Object.fromEntries(given)
}
