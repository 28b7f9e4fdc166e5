import { randomBytes } from 'node:crypto'
import { DEFAULTS } from '../config/defaults.ts'
import { failpoints } from '../config/failpoint.ts'
import { serviceOf } from '../config/service.ts'
import { takeLease } from '../control/lease.ts'
import { byLastRun, forgetPasses, reconcileStore } from '../control/reconcile.ts'
import { readService } from '../control/services.ts'
import { MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import { pause } from '../model/pause.ts'
import { STAGE_RULES } from '../model/stage.ts'
import type { ServiceReport } from '../reconcile/report.ts'
import { type RangeProgress, reconcileService } from '../reconcile/run.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { tellDrift } from './alerts.ts'
import { type App, installControl, namesOf } from './open.ts'
import { comparedTables, openSides, reconcilePorts } from './reconcile-ports.ts'
import { relationOf, relationsOf } from './verification.ts'

export interface ReconcileRequest {
  /** as in the configuration; empty = all */
  readonly tables: readonly string[]
  readonly strict: boolean
  readonly offline: boolean
  /** milliseconds */
  readonly budget?: number
  /** look at every range in this run, also at those that a pass under way is through with */
  readonly afresh?: boolean
  /** for tests: rows of a range */
  readonly rangeRows?: number
  readonly signal: AbortSignal
  readonly onRange: (range: RangeProgress) => void
}

/**
 * Compares one service with the monolith. Throws LOCKED while another run does, NOTHING_TO_COMPARE where there is no
 * copy, WORKER_MISSING without a running sync unless `offline`.
 */
export async function reconcile(app: App, name: string, request: ReconcileRequest): Promise<ServiceReport> {
  const wanted = wantedTables(app, name, request.tables)
  await requireCopy(app, name)
  await installControl(app)
  await using lease = await takeLease(app.control, {
    name: namesOf(app.config, name).reconcileLease,
    signal: request.signal,
  })
  const signal = AbortSignal.any([request.signal, lease.lost])
  if (request.afresh === true) await forgetPasses(app.control, name)
  await using sides = openSides(app, name)
  const { side } = await readAuthority(app.monolith, name)
  const tables = await comparedTables(app, name, sides, { authority: side, rangeRows: request.rangeRows })
  return await reconcileService({
    service: name,
    tables: tables.filter(({ relation }) => wanted.includes(relation)),
    ports: reconcilePorts(app, name, side),
    store: reconcileStore(app.control, name, lease),
    seeds: request.strict ? [seed(), seed()] : [seed()],
    offline: request.offline,
    budget: request.budget ?? DEFAULTS.reconcileBudgetMs,
    now: () => performance.now(),
    pause,
    signal,
    onRange: request.onRange,
    failpoint: failpoints(),
  })
}

/**
 * Compares one service, or one after the other all that have a copy within one budget: those that were compared
 * longest ago first. Throws what `reconcile` throws, after the other services were compared.
 */
export async function reconcileServices(
  app: App,
  only: string | null,
  request: ReconcileRequest & { readonly alerts: Alerts; readonly onService: (report: ServiceReport) => void },
): Promise<ServiceReport[]> {
  const deadline = performance.now() + (request.budget ?? DEFAULTS.reconcileBudgetMs)
  const reports: ServiceReport[] = []
  const errors: unknown[] = []
  for (const name of only === null ? await withCopy(app) : [only]) {
    request.signal.throwIfAborted()
    try {
      const report = await reconcile(app, name, { ...request, budget: Math.max(1, deadline - performance.now()) })
      reports.push(report)
      tellDrift(request.alerts, report, request.tables.length === 0)
      request.onService(report)
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
  return reports
}

async function withCopy(app: App): Promise<string[]> {
  const names: string[] = []
  for (const name of Object.keys(app.config.services)) if (await hasCopy(app, name)) names.push(name)
  if (names.length === 0) throw new MigrateError('NOTHING_TO_COMPARE', { service: 'any service' })
  await installControl(app)
  return byLastRun(app.control, names)
}

/** Is there a copy to compare with? `off` has none yet, after `complete` nothing keeps the sides equal. */
async function hasCopy(app: App, name: string): Promise<boolean> {
  const { rows } = await app.control.query<{ present: boolean }>(
    `select to_regclass('migrate.service') is not null as present`,
  )
  if (rows[0]?.present !== true) return false
  return STAGE_RULES[(await readService(app.control, name)).stage].sync !== 'none'
}

async function requireCopy(app: App, name: string): Promise<void> {
  if (!(await hasCopy(app, name))) throw new MigrateError('NOTHING_TO_COMPARE', { service: name })
}

/** Throws USAGE for a table that the service does not have. */
function wantedTables(app: App, name: string, tables: readonly string[]): string[] {
  const known = relationsOf(app, name)
  const unknown = tables.find((table) => !known.includes(relationOf(table)))
  if (unknown !== undefined) {
    const reason = `${name} has no table ${unknown}; it has ${Object.keys(serviceOf(app.config, name).tables).join(', ')}`
    throw new MigrateError('USAGE', { reason, command: 'migrate reconcile' })
  }
  return tables.length === 0 ? known : tables.map(relationOf)
}

/** Random for every run: rows that collide once do not collide again. */
function seed(): string {
  return randomBytes(8).readBigInt64BE().toString()
}
