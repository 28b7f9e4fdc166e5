import { failpoints } from '../config/failpoint.ts'
import { serviceOf } from '../config/service.ts'
import { markRevoked, openIntents } from '../control/intents.ts'
import { holderName } from '../control/lease.ts'
import { readProgress, writeProgress } from '../control/progress.ts'
import { countUnsettled } from '../control/unsettled.ts'
import { asMigrateError, MigrateError } from '../errors.ts'
import { asLsn, type Lsn } from '../model/lsn.ts'
import { pause } from '../model/pause.ts'
import type { Direction, PipelineState, SyncCounters } from '../model/progress.ts'
import { innerForeignKeys, readServer, type ServerInfo, type TableInfo } from '../stores/postgres/catalogue.ts'
import { applicationName, claimCheckpoint, type SealedAnswer } from '../stores/postgres/checkpoint.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { lackingRows } from '../stores/postgres/lacking-rows.ts'
import { openSink } from '../stores/postgres/sink.ts'
import { completeOrigin } from '../stores/postgres/origin.ts'
import { freeSlot } from '../stores/postgres/slot.ts'
import { openWalStream } from '../stores/postgres/wal-stream.ts'
import { ExtraRows } from '../sync/extra-rows.ts'
import type { InnerForeignKey } from '../sync/family.ts'
import { isLeg } from '../sync/queue.ts'
import type { Checkpoint, PipelineControl, WalStream } from '../sync/ports.ts'
import { type PipelineEnd, runPipeline } from '../sync/pipeline.ts'
import type { Origin, SourceReading } from '../sync/slot-fault.ts'
import type { App } from './open.ts'
import { remakeSlot } from './remake-slot.ts'
import { sidesOf } from './sides.ts'
import { examineSource, explainFailure, faultError, isOwed } from './slot-fault.ts'
import type { SlotGuard } from './slot-guard.ts'
import { openSpoolFile } from './spool-file.ts'
import type { SyncOrders } from './sync-orders.ts'
import { readTables } from './tables.ts'

export interface PipelineJob {
  readonly app: App
  readonly name: string
  readonly direction: Direction
  /** fencing token of the worker's lease */
  readonly epoch: number
  readonly counters: SyncCounters
  /** told with every report to the control database */
  readonly onProgress: (progress: SyncProgress) => void
  readonly until?: Lsn
  readonly extraRows?: ExtraRows
  readonly guard: SlotGuard
  readonly orders: SyncOrders
  readonly signal: AbortSignal
}

export interface SyncProgress {
  readonly direction: Direction
  readonly state: PipelineState
  /** bytes of the source's log that are not yet durable in the target; null = not known yet */
  readonly lagBytes: number | null
  readonly counters: SyncCounters
}

/** Claims one direction of a service and follows it until it ends, is sealed, or fails. */
export async function runDirection(job: PipelineJob): Promise<PipelineEnd> {
  const { app, name, direction, signal } = job
  const sides = sidesOf(app, name, direction)
  const server = await readServer(sides.source)
  let claim = null
  while (claim === null) {
    signal.throwIfAborted()
    claim = await claimCheckpoint(sides.target, sides.pipeline, () => unseal(app, name, direction))
    // a run is between its seal and its switch
    if (claim === null) await pause(100, signal)
  }
  const at = claim.commitLsn
  const { fault, origin, age, reading } = await examineSource(app, name, direction, at)
  if (fault !== null) {
    const remade = fault.kind !== 'other-server' && (await remakeSlot(app, name, direction, signal))
    if (!remade) throw faultError(app, name, direction, fault, at)
    return runDirection(job)
  }
  await completeOrigin(sides.target, sides.pipeline, reading)
  const lag = (await readProgress(app.control, name, direction))?.lagSeconds ?? null
  // when the checkpoint moved last, its worker was so far behind
  if (lag !== null) job.guard.clockOf(direction).begin(performance.now() - (age + lag) * 1_000, at)
  try {
    return await follow(job, claim, completed(origin, reading), server)
  } catch (error) {
    const { code } = asMigrateError(error)
    if (signal.aborted || (code !== 'SLOT_LOST' && code !== 'DATABASE_STATEMENT')) throw error
    const found = await explainFailure(app, name, direction, at).catch(() => null)
    if (found === null) throw error
    // what nothing depends on is made again with the next claim
    if (!(await isOwed(app, name, direction))) return 'sealed'
    throw faultError(app, name, direction, found.fault, found.at)
  }
}

/** Opens both ends for a claim and applies what comes. */
async function follow(job: PipelineJob, claim: Checkpoint, origin: Origin, server: ServerInfo): Promise<PipelineEnd> {
  const { app, name, direction, signal } = job
  const sides = sidesOf(app, name, direction)
  await freeSlot(sides.source, sides.slot)
  const failpoint = failpoints()
  await using sink = await openSink({
    url: sides.targetUrl,
    role: sides.targetRole,
    database: sides.target,
    service: name,
    direction,
    pipeline: sides.pipeline,
    epoch: claim.epoch,
    tables: await readTables(sides.target, name, serviceOf(app.config, name)),
    failpoint,
  })
  const stream = await openWalStream({
    url: sides.sourceUrl,
    role: sides.sourceRole,
    applicationName: `${applicationName(sides.pipeline)}/stream`,
    slot: sides.slot,
    publication: sides.publication,
    from: claim.commitLsn,
    serverVersion: server.version,
    walSenderTimeout: server.walSenderTimeout,
  })
  using _reading = job.guard.reading(direction, origin, claim.commitLsn)
  await requireSame(job, claim.commitLsn, stream)
  // awaited here: the sink is closed when this function returns
  return await runPipeline({
    service: name,
    direction,
    stream,
    sink,
    control: pipelineControl(job),
    counters: job.counters,
    failpoint,
    openSpool: () => openSpoolFile(),
    signal,
    extraRows: job.extraRows,
    pace: job.orders.throttles[direction],
    ...(job.until === undefined ? {} : { until: job.until }),
  })
}

/** While a stream is open nobody can make its slot again: what is found now holds for all that is read from it. */
async function requireSame({ app, name, direction }: PipelineJob, at: Lsn, stream: WalStream): Promise<void> {
  try {
    const { fault } = await examineSource(app, name, direction, at)
    if (fault !== null) throw faultError(app, name, direction, fault, at)
  } catch (error) {
    await stream[Symbol.asyncDispose]()
    throw error
  }
}

/** A checkpoint of an earlier version knew less; it is completed by now. */
function completed(origin: Origin, { timeline, publication }: SourceReading): Origin {
  return {
    ...origin,
    timeline: origin.timeline ?? timeline,
    publication: origin.publication ?? publication.fingerprint,
  }
}

/**
 * Current end of the log that a direction reads from. The message behind it gives an idle server something to write:
 * at the start of a page the position lies behind the page's header, and would not be reached.
 */
export async function sourcePosition(app: App, name: string, direction: Direction): Promise<Lsn> {
  const { rows } = await sidesOf(app, name, direction).source.query<{ at: string }>(
    `select (pg_current_wal_insert_lsn() - '0/0')::text as at, pg_logical_emit_message(false, 'migrate.position', '')`,
  )
  return asLsn(BigInt(rows[0]?.at ?? '0'))
}

/** One for both directions of a worker. */
export function openExtraRows(app: App, name: string): ExtraRows {
  let tables: readonly TableInfo[] | null = null
  let keys: readonly InnerForeignKey[] | null = null
  // without the middleware nothing tells a leg from another write: in dual-write its gate lets all of them in
  const { idempotent } = serviceOf(app.config, name)
  return new ExtraRows({
    isLeg: (transaction) => !idempotent || isLeg(transaction, name),
    async lacking(rows) {
      tables ??= await readTables(app.monolith, name, serviceOf(app.config, name))
      return lackingRows(app.monolith, tables, rows)
    },
    position: () => sourcePosition(app, name, 'forward'),
    async foreignKeys() {
      keys ??= await innerForeignKeys(
        app.service(name),
        (await readTables(app.service(name), name, serviceOf(app.config, name))).map(({ oid }) => oid),
      )
      return keys
    },
  })
}

/** What the authority row says to a pipeline that a run has sealed. */
async function unseal(app: App, name: string, direction: Direction): Promise<SealedAnswer> {
  const authority = await readAuthority(app.monolith, name)
  const mine = direction === 'forward' ? 'monolith' : 'service'
  if (authority.side !== mine) return { state: 'discard', authorityEpoch: null }
  if (direction === 'forward' && authority.closed) return 'wait'
  return { state: 'apply', authorityEpoch: direction === 'reverse' ? authority.epoch : null }
}

function pipelineControl(job: PipelineJob): PipelineControl {
  const { app, name, direction, epoch, counters } = job
  // The sink cannot keep such a leg from running: it only says since when it may run too late.
  const plain = !serviceOf(app.config, name).idempotent
  const keepsKeys = async (revoked: readonly string[]): Promise<boolean> =>
    revoked.length > 0 || (await countUnsettled(app.control, name)) > 0
  return {
    openLegs: (olderThan) =>
      direction === 'forward' ? openIntents(app.control, name, olderThan) : Promise.resolve([]),
    legsRevoked: (keys) => markRevoked(app.control, keys, plain ? 'unsettled' : 'revoked'),
    ...(plain ? { keepsKeys } : {}),
    async publish({ phase, state, applied, source, hold, news }) {
      if (phase === 'streaming') {
        const lagBytes = applied === null || source === null ? null : Math.max(0, Number(source - applied))
        job.onProgress({ direction, state, lagBytes, counters })
      }
      const clock = job.guard.clockOf(direction)
      const now = performance.now()
      const progress = {
        service: name,
        direction,
        worker: holderName(),
        epoch,
        phase,
        state,
        applied,
        source,
        hold,
        lagSeconds: applied === null ? null : clock.lagSeconds(now, applied),
        throttled: job.orders.throttles[direction].reason(now),
        walEnd: clock.walEnd,
        walRate: clock.walRate,
        counters,
      }
      try {
        await writeProgress(app.control, progress, news && direction === 'forward')
      } catch (error) {
        // the next report carries it; the lease ends the worker when control stays away
        if (!(error instanceof MigrateError)) throw error
      }
    },
  }
}
