import { setFlagsFromString } from 'node:v8'
import { type Lease, takeLease } from '../control/lease.ts'
import { readService } from '../control/services.ts'
import type { Paused } from '../control/sync-control.ts'
import { asMigrateError, MigrateError } from '../errors.ts'
import { formatLsn, type Lsn } from '../model/lsn.ts'
import { pause } from '../model/pause.ts'
import type { Alerts } from '../model/alert.ts'
import { type Direction, newCounters, type SyncCounters } from '../model/progress.ts'
import { STAGE_RULES } from '../model/stage.ts'
import { retry } from '../retry.ts'
import { readCheckpoint } from '../stores/postgres/checkpoint.ts'
import type { CopyProgress } from '../stores/postgres/snapshot.ts'
import type { Finding } from '../stores/postgres/preflight.ts'
import { keepHouse } from './housekeeping.ts'
import { settleAbandoned } from './interrupted.ts'
import { type App, installControl, namesOf } from './open.ts'
import { openExtraRows, type PipelineJob, runDirection, sourcePosition, type SyncProgress } from './pipeline.ts'
import { refuseDetached, requireUnused, wishResnapshot } from './resnapshot.ts'
import { SlotGuard } from './slot-guard.ts'
import { type SyncAlarm, syncAlarm } from './sync-alarm.ts'
import { followOrders } from './sync-orders.ts'
import { checkService, copyService, prepareReverse, prepareService } from './prepare.ts'
import { settleLegs } from './settle-legs.ts'

export interface SyncEvents {
  /** about once a second while a table is copied */
  copying(progress: CopyProgress): void
  copied(table: string, rows: number): void
  following(direction: Direction): void
  /** somebody has paused it; null = it goes on */
  paused(paused: Paused | null): void
  /** about once a second while it follows */
  progress(progress: SyncProgress): void
  retrying(direction: Direction, error: Error): void
}

export type SyncResult =
  | { readonly kind: 'refused'; readonly findings: readonly Finding[] }
  | {
      readonly kind: 'done'
      readonly slot: string
      readonly position: string
      readonly counters: Record<Direction, SyncCounters>
    }

export interface SyncOptions {
  readonly once: boolean
  /** who wants everything to be copied again, in place of the rows that are there; see `wishResnapshot` */
  readonly resnapshot?: string
  readonly events: SyncEvents
  readonly signal: AbortSignal
}

/**
 * Copies a service's tables and applies what the monolith commits; with `once` only what was committed before the
 * start. Throws LOCKED when another worker has the service, and what a pipeline throws for good.
 */
export async function syncService(
  app: App,
  name: string,
  options: SyncOptions & { readonly alerts: Alerts },
): Promise<SyncResult> {
  using alarm = syncAlarm(options.alerts, name)
  try {
    return await followService(app, name, { ...options, alarm })
  } catch (error) {
    if (!options.signal.aborted) alarm.ended(error)
    throw error
  }
}

/** As `syncService`; the alarm belongs to the caller, who may start it again. */
export async function followService(
  app: App,
  name: string,
  options: SyncOptions & { readonly alarm: SyncAlarm },
): Promise<SyncResult> {
  const { alarm, events } = options
  keepYoungHeapSmall()
  return await copyAndFollow(app, name, {
    ...options,
    events: {
      copying: (progress) => events.copying(progress),
      copied: (table, rows) => events.copied(table, rows),
      following: (direction) => events.following(direction),
      paused: (paused) => events.paused(paused),
      progress(progress) {
        alarm.alive(progress.direction)
        events.progress(progress)
      },
      retrying(direction, error) {
        alarm.retrying(direction, error)
        events.retrying(direction, error)
      },
    },
  })
}

/**
 * What a batch leaves behind is garbage at once. Left to itself V8 lets it grow to 100 MiB before it looks: 262 MiB of
 * memory after a stall of a minute instead of 166, for 2 % of the time (bench:sync). V8 reads this flag whenever it could grow.
 */
function keepYoungHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}

async function copyAndFollow(app: App, name: string, options: SyncOptions): Promise<SyncResult> {
  if (options.resnapshot === undefined) await refuseDetached(app, name)
  else await requireUnused(app, name)
  await using guard = new SlotGuard(app, name)
  const signal = AbortSignal.any([options.signal, guard.tripped])
  const work = syncUnderLease(app, name, guard, { ...options, signal })
  const ended = await untilTripped(work, guard.tripped)
  // it may also have ended in order, or by what it made of that
  if (guard.tripped.aborted && !options.signal.aborted) throw guard.tripped.reason
  return ended()
}

/** What the guard ends may hang in a target that does not answer: it gets this long to end in order, milliseconds. */
const END_MS = 3_000

/** Resolves at the end of the work, or a while after it was tripped, with what gives or throws its outcome. */
async function untilTripped<T>(work: Promise<T>, tripped: AbortSignal): Promise<() => T> {
  const outcome = work.then(
    (value) => () => value,
    (error: unknown) => () => {
      throw error
    },
  )
  const { promise, resolve } = Promise.withResolvers<() => T>()
  const onTrip = (): void => {
    const giveUp = (): never => {
      throw tripped.reason
    }
    const timer = setTimeout(() => resolve(giveUp), END_MS)
    void outcome.finally(() => clearTimeout(timer))
  }
  tripped.addEventListener('abort', onTrip, { once: true })
  try {
    return await Promise.race([outcome, promise])
  } finally {
    tripped.removeEventListener('abort', onTrip)
  }
}

async function syncUnderLease(app: App, name: string, guard: SlotGuard, options: SyncOptions): Promise<SyncResult> {
  const findings = await checkService(app, name)
  if (findings.length > 0) return { kind: 'refused', findings }
  await installControl(app)
  const counters = { forward: newCounters(), reverse: newCounters() }
  let lease: Lease | null = await takeLease(app.control, leaseOptions(app, name, options.signal))
  if (options.resnapshot !== undefined) {
    await wishResnapshot(app, name, options.resnapshot).catch(async (error: unknown) => {
      await lease?.[Symbol.asyncDispose]()
      throw error
    })
  }
  while (lease !== null) {
    await using held: Lease = lease
    await followUnder({ app, name, guard, lease: held, counters }, options)
    lease = held.lost.aborted ? await takeAgain(app, name, held.lost.reason as Error, options) : null
  }
  const position = formatLsn(await sourcePosition(app, name, 'forward'))
  return { kind: 'done', slot: namesOf(app.config, name).slot, position, counters }
}

interface Held {
  readonly app: App
  readonly name: string
  readonly guard: SlotGuard
  readonly lease: Lease
  readonly counters: Record<Direction, SyncCounters>
}

/** Until the end of the work, of the lease or of the user's patience. */
async function followUnder(
  { app, name, guard, lease, counters }: Held,
  { once, events, signal: stop }: SyncOptions,
): Promise<void> {
  const ending = new AbortController()
  const signal = AbortSignal.any([stop, lease.lost])
  const besides = AbortSignal.any([signal, ending.signal])
  const others: Promise<void>[] = []
  try {
    await prepareService(app, name)
    const until = once ? await sourcePosition(app, name, 'forward') : undefined
    await copyService(app, name, events, signal)
    others.push(keepHouse(app, name, besides))
    const failed = (error: Error): void => events.retrying('forward', error)
    others.push(settleAbandoned(app, name, failed, besides), settleLegs(app, name, failed, besides))
    const onProgress = (now: SyncProgress): void => events.progress(now)
    const job = { app, name, epoch: lease.epoch, extraRows: openExtraRows(app, name), signal, onProgress }
    await using orders = followOrders(app, name, guard, (paused) => events.paused(paused))
    await follow({ ...job, guard, orders }, counters, until, events)
  } catch (error) {
    // what breaks off with the lease is taken up with the next one
    if (!lease.lost.aborted) throw error
  } finally {
    ending.abort()
    await Promise.all(others)
  }
}

/**
 * A lease that ran out while the control database was away is taken again when it is back; nothing was written
 * meanwhile. Throws LOCKED, with its name, when another worker has come first.
 */
async function takeAgain(app: App, name: string, lost: Error, { events, signal }: SyncOptions): Promise<Lease | null> {
  let reason = lost
  for (;;) {
    events.retrying('forward', reason)
    try {
      await pause(AGAIN_MS, signal)
      return await takeLease(app.control, leaseOptions(app, name, signal))
    } catch (error) {
      if (signal.aborted) return null
      reason = asMigrateError(error)
      if (asMigrateError(error).code !== 'DATABASE_UNREACHABLE') throw error
    }
  }
}

const AGAIN_MS = 500

function leaseOptions(app: App, name: string, signal: AbortSignal) {
  return { name: namesOf(app.config, name).syncLease, signal }
}

type Job = Omit<PipelineJob, 'direction' | 'counters' | 'until'>

async function follow(job: Job, counters: Record<Direction, SyncCounters>, until: Lsn | undefined, events: SyncEvents) {
  // one direction that fails for good ends the other in order
  const ending = new AbortController()
  const signal = AbortSignal.any([job.signal, ending.signal])
  const directions: Promise<void>[] = [
    supervise(
      { ...job, signal, direction: 'forward', counters: counters.forward, ...(until === undefined ? {} : { until }) },
      events,
    ),
  ]
  if (until === undefined)
    directions.push(reverseWhenDue({ ...job, signal, direction: 'reverse', counters: counters.reverse }, events))
  const results = await Promise.allSettled(
    directions.map((direction) =>
      direction.finally(() => {
        ending.abort(new MigrateError('INTERNAL', { reason: 'the other direction has ended' }))
      }),
    ),
  )
  for (const result of results) {
    if (result.status === 'rejected' && result.reason !== ending.signal.reason && !job.signal.aborted)
      throw result.reason
  }
}

/** Runs one direction again and again: after a lost connection, a seal, a claim by a run. */
async function supervise(job: PipelineJob, events: SyncEvents): Promise<void> {
  for (;;) {
    const end = await retry(
      async () => {
        events.following(job.direction)
        return runDirection(job)
      },
      { signal: job.signal, onRetry: (error) => events.retrying(job.direction, error) },
    ).catch((error: unknown) => {
      if (job.signal.aborted) return 'aborted' as const
      // a run has sealed the pipeline while it wrote; the lease says that no other worker is there
      if (asMigrateError(error).code === 'TAKEN_OVER') return 'sealed' as const
      throw error
    })
    if (end !== 'sealed') return
  }
}

/** The reverse direction runs from stage `route` on, dropping what it reads until a cutover starts it. */
async function reverseWhenDue(job: PipelineJob, events: SyncEvents): Promise<void> {
  const { app, name, signal } = job
  const due = async (): Promise<void> => {
    for (;;) {
      signal.throwIfAborted()
      const { stage } = await readService(app.control, name)
      // one that is there would keep the service's log, also after a step back to `sync`
      const begun = await readCheckpoint(app.monolith, namesOf(app.config, name).reverse)
      if (STAGE_RULES[stage].reads !== 'monolith' || begun !== null) break
      await pause(250, signal)
    }
    await prepareReverse(app, name)
  }
  try {
    await retry(due, { signal, onRetry: (error) => events.retrying('reverse', error) })
  } catch (error) {
    if (signal.aborted) return
    throw error
  }
  await supervise(job, events)
}
