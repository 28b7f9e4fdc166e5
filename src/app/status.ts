import { type OpenAlert, openAlerts } from '../control/alerts.ts'
import { countOpen } from '../control/dead-letters.ts'
import { legCounts } from '../control/intents.ts'
import { lastRun } from '../control/journal.ts'
import { readRouters } from '../control/policy.ts'
import { newestVersion, readService } from '../control/services.ts'
import { type Paused, readSyncControl } from '../control/sync-control.ts'
import { countUnsettled } from '../control/unsettled.ts'
import { DIRECTIONS } from '../model/progress.ts'
import { type Stage, STAGE_RULES } from '../model/stage.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { isInstalled } from './installed.ts'
import type { App } from './open.ts'
import { type PipelineStatus, pipelineStatus } from './pipeline-status.ts'
import { readVerification, type VerificationStatus } from './verification.ts'

/** Where everything stands. The same object is printed by `status`, `status --json` and later shown by `ui`. */
export interface StatusSnapshot {
  readonly project: string
  readonly services: readonly ServiceStatus[]
  readonly routers: readonly { instance: string; version: number; age: number }[]
  /** what routers that are up to date obey */
  readonly policyVersion: number
}

export interface ServiceStatus {
  readonly service: string
  readonly stage: Stage
  readonly percent: number
  readonly authority: { readonly side: 'monolith' | 'service'; readonly epoch: number; readonly fenced: boolean } | null
  /** its sync applies nothing until somebody resumes it */
  readonly paused: Paused | null
  readonly sync: readonly PipelineStatus[]
  /** second legs of the last ten minutes by state and verdict */
  readonly legs: readonly { state: string; verdict: string | null; count: number }[]
  /** second legs that may still run in the service */
  readonly unsettled: number
  /** open ones */
  readonly deadLetters: number
  /** raised and not over */
  readonly alerts: readonly OpenAlert[]
  /** null until reconcile has run */
  readonly verification: VerificationStatus | null
  readonly lastRun: { kind: string; state: string; seconds: number | null; reason: string | null } | null
  readonly next: string | null
}

export async function readStatus(app: App, only: string | null): Promise<StatusSnapshot> {
  const names = only === null ? Object.keys(app.config.services) : [only]
  const installed = await isInstalled(app.control, 'service')
  const services = installed ? await Promise.all(names.map((name) => serviceStatus(app, name))) : names.map(untouched)
  const routers = installed ? await readRouters(app.control) : []
  return {
    project: app.config.project,
    services,
    policyVersion: installed ? await newestVersion(app.control) : 0,
    routers: routers.map(({ instance, version, age }) => ({ instance, version, age })),
  }
}

function untouched(service: string): ServiceStatus {
  const none = { authority: null, paused: null, sync: [], legs: [], unsettled: 0, deadLetters: 0, alerts: [] }
  return {
    service,
    stage: 'off',
    percent: 0,
    ...none,
    verification: null,
    lastRun: null,
    next: `migrate sync ${service}`,
  }
}

async function serviceStatus(app: App, service: string): Promise<ServiceStatus> {
  const { stage, percent } = await readService(app.control, service)
  if (stage === 'off') return untouched(service)
  const authority = await readAuthority(app.monolith, service)
  const run = await lastRun(app.control, service)
  const next = STAGE_RULES[stage].nextCommand
  const sync = await syncStatus(app, service)
  return {
    service,
    stage,
    percent: STAGE_RULES[stage].reads === 'service' ? 100 : percent,
    authority: {
      side: authority.side,
      epoch: authority.epoch,
      fenced: authority.side === 'monolith' && authority.closed,
    },
    ...sync,
    legs: await legCounts(app.control, service, 600),
    ...(await troubledLegs(app, service)),
    alerts: await openAlerts(app.control, service),
    verification: await readVerification(app, service, authority.epoch),
    lastRun: run === null ? null : { kind: run.kind, state: run.state, seconds: run.seconds, reason: run.reason },
    next: nextStep(service, run, next, sync.sync),
  }
}

async function syncStatus(app: App, service: string): Promise<Pick<ServiceStatus, 'paused' | 'sync'>> {
  const ofDirections = await Promise.all(DIRECTIONS.map((direction) => pipelineStatus(app, service, direction)))
  const known = await isInstalled(app.control, 'sync_control')
  return {
    paused: known ? (await readSyncControl(app.control, service)).paused : null,
    sync: ofDirections.filter((pipeline) => pipeline !== null),
  }
}

/** `status` installs nothing: an older control schema has no letters. */
async function troubledLegs(app: App, service: string): Promise<{ unsettled: number; deadLetters: number }> {
  if (!(await isInstalled(app.control, 'dead_letter'))) return { unsettled: 0, deadLetters: 0 }
  return {
    unsettled: await countUnsettled(app.control, service),
    deadLetters: await countOpen(app.control, service),
  }
}

function nextStep(
  service: string,
  run: { readonly kind: string; readonly state: string } | null,
  command: string | null,
  sync: readonly PipelineStatus[],
): string | null {
  if (run?.state === 'running') return `migrate ${run.kind} ${service}`
  const givenUp = sync.some(({ direction, wal }) => direction === 'forward' && wal.detachedAt !== null)
  if (givenUp) return `migrate sync ${service} --resnapshot`
  return command === null ? null : nextCommand(command, service)
}

function nextCommand(command: string, service: string): string {
  if (command === 'route set') return `migrate route set ${service} --percent 25`
  return `migrate ${command} ${service}`
}
