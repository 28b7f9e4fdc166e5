import { type OpenAlert, openAlerts } from '../control/alerts.ts'
import { countOpen } from '../control/dead-letters.ts'
import { legCounts } from '../control/intents.ts'
import { lastRun } from '../control/journal.ts'
import { readRouters } from '../control/policy.ts'
import { readProgress } from '../control/progress.ts'
import { newestVersion, readService } from '../control/services.ts'
import { countUnsettled } from '../control/unsettled.ts'
import type { Direction, SyncCounters } from '../model/progress.ts'
import { type Stage, STAGE_RULES } from '../model/stage.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { readSlot } from '../stores/postgres/slot.ts'
import { type App, namesOf } from './open.ts'
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

export interface PipelineStatus {
  readonly direction: Direction
  readonly state: string
  readonly phase: string
  /** seconds since the worker was heard of */
  readonly age: number
  readonly alive: boolean
  readonly lagBytes: number | null
  readonly hold: boolean
  readonly slot: string
  readonly retainedBytes: number | null
  readonly rows: number
  readonly foreign: number
  /** dual-write: what CDC made of the rows that second legs had written; see `SyncCounters` */
  readonly legs: {
    readonly verified: number
    readonly repaired: number
    readonly extra: number
    readonly serviceExtra: number
  }
}

export async function readStatus(app: App, only: string | null): Promise<StatusSnapshot> {
  const names = only === null ? Object.keys(app.config.services) : [only]
  const installed = await isInstalled(app)
  const services = installed ? await Promise.all(names.map((name) => serviceStatus(app, name))) : names.map(untouched)
  const routers = installed ? await readRouters(app.control) : []
  return {
    project: app.config.project,
    services,
    policyVersion: installed ? await newestVersion(app.control) : 0,
    routers: routers.map(({ instance, version, age }) => ({ instance, version, age })),
  }
}

async function isInstalled(app: App): Promise<boolean> {
  const { rows } = await app.control.query<{ present: boolean }>(
    `select to_regclass('migrate.service') is not null as present`,
  )
  return rows[0]?.present === true
}

function untouched(service: string): ServiceStatus {
  const none = { authority: null, sync: [], legs: [], unsettled: 0, deadLetters: 0, alerts: [] }
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
  const interrupted = run?.state === 'running'
  return {
    service,
    stage,
    percent: STAGE_RULES[stage].reads === 'service' ? 100 : percent,
    authority: {
      side: authority.side,
      epoch: authority.epoch,
      fenced: authority.side === 'monolith' && authority.closed,
    },
    sync: (
      await Promise.all([pipelineStatus(app, service, 'forward'), pipelineStatus(app, service, 'reverse')])
    ).filter((pipeline) => pipeline !== null),
    legs: await legCounts(app.control, service, 600),
    ...(await troubledLegs(app, service)),
    alerts: await openAlerts(app.control, service),
    verification: await readVerification(app, service, authority.epoch),
    lastRun: run === null ? null : { kind: run.kind, state: run.state, seconds: run.seconds, reason: run.reason },
    next: interrupted ? `migrate ${run.kind} ${service}` : next === null ? null : nextCommand(next, service),
  }
}

/** `status` installs nothing: an older control schema has no letters. */
async function troubledLegs(app: App, service: string): Promise<{ unsettled: number; deadLetters: number }> {
  const { rows } = await app.control.query<{ present: boolean }>(
    `select to_regclass('migrate.dead_letter') is not null as present`,
  )
  if (rows[0]?.present !== true) return { unsettled: 0, deadLetters: 0 }
  return {
    unsettled: await countUnsettled(app.control, service),
    deadLetters: await countOpen(app.control, service),
  }
}

/** A worker of an older version reports fewer counters. */
function legsOf({ verified, repaired, extra, serviceExtra }: Partial<SyncCounters>): PipelineStatus['legs'] {
  return { verified: verified ?? 0, repaired: repaired ?? 0, extra: extra ?? 0, serviceExtra: serviceExtra ?? 0 }
}

function nextCommand(command: string, service: string): string {
  if (command === 'route set') return `migrate route set ${service} --percent 25`
  return `migrate ${command} ${service}`
}

async function pipelineStatus(app: App, service: string, direction: Direction): Promise<PipelineStatus | null> {
  const progress = await readProgress(app.control, service, direction)
  if (progress === null) return null
  const names = namesOf(app.config, service)
  const forward = direction === 'forward'
  const slotName = forward ? names.slot : names.reverseSlot
  const slot = await readSlot(forward ? app.monolith : app.service(service), slotName)
  const { applied, source } = progress
  return {
    direction,
    state: progress.state,
    phase: progress.phase,
    age: progress.age,
    alive: progress.age < 5 && progress.phase === 'streaming',
    lagBytes: applied === null || source === null ? null : Math.max(0, Number(source - applied)),
    hold: progress.hold,
    slot: slotName,
    retainedBytes: slot?.retained ?? null,
    rows: progress.counters.rows,
    foreign: progress.counters.foreign,
    legs: legsOf(progress.counters),
  }
}
