import { serviceOf } from '../config/service.ts'
import { readDetached } from '../control/detached.ts'
import { readProgress } from '../control/progress.ts'
import type { Lsn } from '../model/lsn.ts'
import { type Direction, newCounters, type SyncCounters } from '../model/progress.ts'
import { within } from '../model/within.ts'
import { type LogReading, readLog } from '../stores/postgres/slot.ts'
import { retentionLimit } from '../sync/retention.ts'
import { isInstalled } from './installed.ts'
import type { App } from './open.ts'
import { sidesOf } from './sides.ts'

export interface PipelineStatus {
  readonly direction: Direction
  readonly state: string
  readonly phase: string
  /** seconds since the worker was heard of */
  readonly age: number
  readonly alive: boolean
  readonly lagBytes: number | null
  /** everything that the source had committed so many seconds ago is in the target; null = not known */
  readonly lagSeconds: number | null
  /** why the worker writes slower than it could */
  readonly throttled: string | null
  readonly hold: boolean
  readonly slot: string
  /** bytes of the log that its server keeps for the slot; null = there is none, or nobody answers */
  readonly retainedBytes: number | null
  readonly wal: WalStatus
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

/** How the slot stands with its server. Sizes in bytes. */
export interface WalStatus {
  /** as pg_replication_slots says it: reserved, extended, unreserved, lost; `gone` = there is no slot, `unknown` = its server does not answer */
  readonly status: string
  /** max_slot_wal_keep_size; null = unlimited, or not known */
  readonly capBytes: number | null
  /** a slot that keeps more and whose target does not follow is given up */
  readonly detachBytes: number | null
  /** how fast the log grows, a second; null = not known */
  readonly growthBytes: number | null
  /** until the cap, if the slot stood still and the log grew on like that; null = unlimited, or it cannot be told */
  readonly secondsToCap: number | null
  /** it was given up then: only `sync --resnapshot` goes on */
  readonly detachedAt: string | null
}

/** A server that does not answer must not keep the rest of the status back, milliseconds. */
const PATIENCE = 3_000
/** Without a word for so long, seconds, the worker's own measure of the log's growth is out of date. */
const STALE = 10

/** Null when no worker of this direction ever said anything, and its slot was not given up. */
export async function pipelineStatus(app: App, service: string, direction: Direction): Promise<PipelineStatus | null> {
  const noted = await isInstalled(app.control, 'detached')
  const detached = noted ? await readDetached(app.control, service, direction) : null
  const progress = (await readProgress(app.control, service, direction)) ?? silent(detached)
  if (progress === null) return null
  const { source, slot } = sidesOf(app, service, direction)
  const log = await within(readLog(source, slot), PATIENCE).catch(() => null)
  const { applied, source: received, age, walEnd } = progress
  // a worker that waits for its target says nothing, and what it has read says nothing of what has come since
  const end = [received, walEnd, log?.walEnd ?? null].filter((lsn) => lsn !== null).reduce(later, received ?? 0n)
  return {
    direction,
    state: progress.state,
    phase: progress.phase,
    age,
    alive: age < 5 && progress.phase === 'streaming',
    lagBytes: applied === null || received === null ? null : Math.max(0, Number((age < 5 ? received : end) - applied)),
    lagSeconds: progress.lagSeconds === null ? null : progress.lagSeconds + age,
    throttled: progress.throttled,
    hold: progress.hold,
    slot,
    retainedBytes: log?.slot?.retained ?? null,
    wal: walStatus(app, { service, log, progress, detached }),
    rows: progress.counters.rows,
    foreign: progress.counters.foreign,
    legs: legsOf(progress.counters),
  }
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

/** A worker that gave its slot up before it said anything. */
function silent(detached: { readonly at: string; readonly position: Lsn } | null) {
  if (detached === null) return null
  const nothing = { source: null, lagSeconds: null, throttled: null, walEnd: null, walRate: null, hold: false }
  const age = Math.max(0, Date.now() - Date.parse(detached.at)) / 1_000
  const { position: applied } = detached
  return { ...nothing, state: 'apply', phase: 'stopped', age, applied, counters: newCounters() }
}

function walStatus(
  app: App,
  found: {
    readonly service: string
    readonly detached: { readonly at: string } | null
    readonly log: LogReading | null
    readonly progress: { readonly age: number; readonly walEnd: bigint | null; readonly walRate: number | null }
  },
): WalStatus {
  const { service, log, progress, detached } = found
  const nothing = { capBytes: null, detachBytes: null, growthBytes: null, secondsToCap: null }
  if (log === null) return { status: 'unknown', ...nothing, detachedAt: null }
  const { cap: capBytes, slot } = log
  const detachBytes = retentionLimit(capBytes, serviceOf(app.config, service).slot)
  const growthBytes = growth(log.walEnd, progress)
  if (slot === null) {
    return { ...nothing, status: 'gone', capBytes, detachBytes, growthBytes, detachedAt: detached?.at ?? null }
  }
  const { walStatus: status, room } = slot
  const secondsToCap =
    room === null || growthBytes === null || growthBytes <= 0 ? null : Math.max(0, room) / growthBytes
  return { status, capBytes, detachBytes, growthBytes, secondsToCap, detachedAt: null }
}

/** As the worker has measured it; without one, from where it saw the log end to where it ends now. */
function growth(
  end: bigint,
  { age, walEnd, walRate }: { age: number; walEnd: bigint | null; walRate: number | null },
): number | null {
  if (age < STALE) return walRate
  return walEnd === null ? null : Math.max(0, Number(end - walEnd)) / age
}

/** A worker of an older version reports fewer counters. */
function legsOf({ verified, repaired, extra, serviceExtra }: Partial<SyncCounters>): PipelineStatus['legs'] {
  return { verified: verified ?? 0, repaired: repaired ?? 0, extra: extra ?? 0, serviceExtra: serviceExtra ?? 0 }
}
