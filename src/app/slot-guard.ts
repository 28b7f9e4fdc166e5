import { serviceOf } from '../config/service.ts'
import { noteDetached } from '../control/detached.ts'
import { holderName, leaseHolder } from '../control/lease.ts'
import { asMigrateError, MigrateError } from '../errors.ts'
import type { Lsn } from '../model/lsn.ts'
import { pause } from '../model/pause.ts'
import type { Direction } from '../model/progress.ts'
import { within } from '../model/within.ts'
import { readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { beat } from '../stores/postgres/heartbeat.ts'
import { dropSlot, freeSlot, readLog, type SlotInfo } from '../stores/postgres/slot.ts'
import { LagClock } from '../sync/lag-clock.ts'
import { Retention, retentionLimit } from '../sync/retention.ts'
import { faultOf, type Origin } from '../sync/slot-fault.ts'
import { type App, namesOf } from './open.ts'
import { sidesOf } from './sides.ts'
import { detachedError, faultError, isOwed, lookAtSource } from './slot-fault.ts'

/** Milliseconds from one look at the log to the next; heartbeat and identity come with every so many looks. */
const LOOK_EVERY = 1_000
const BEAT_EVERY = 10
const IDENTITY_EVERY = 5
/** A server that does not answer is not waited for longer, milliseconds: the guard looks at the other one too. */
const PATIENCE = 4_000
/** What a slot is dropped within, milliseconds; a worker of ours may be taking up its stream just now. */
const DROP_WITHIN = 10_000

/**
 * Watches the slots of a service beside its pipelines and without their connections: measures lag and growth of the log,
 * writes heartbeats, notices when a source is not what it was, and gives a slot up before it fills its server's disk.
 * Goes on when a target hangs and when the sync is paused. Dispose ends it.
 */
export class SlotGuard implements AsyncDisposable {
  readonly #app: App
  readonly #name: string
  readonly #tripped = new AbortController()
  readonly #ending = new AbortController()
  readonly #running: Promise<unknown>
  readonly #watches: Record<Direction, Watch> = { forward: newWatch(), reverse: newWatch() }

  constructor(app: App, name: string) {
    this.#app = app
    this.#name = name
    this.#running = Promise.all([this.#follow('forward'), this.#follow('reverse')])
  }

  /** Aborted with the error that has to end the sync. */
  get tripped(): AbortSignal {
    return this.#tripped.signal
  }

  clockOf(direction: Direction): LagClock {
    return this.#watches[direction].clock
  }

  /** The slot keeps so much that catching up comes first. */
  isFilling(direction: Direction): boolean {
    return this.#watches[direction].filling
  }

  /** From now on a pipeline reads this slot, from a checkpoint that is not older than `from`; until disposed. */
  reading(direction: Direction, origin: Origin, from: Lsn): Disposable {
    const watch = this.#watches[direction]
    const reader = { origin, from }
    watch.reader = reader
    return {
      [Symbol.dispose]() {
        if (watch.reader === reader) watch.reader = null
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    await this.#running
  }

  async #follow(direction: Direction): Promise<void> {
    const { signal } = this.#ending
    for (let round = 0; !signal.aborted; round++) {
      try {
        await this.#look(direction, round)
        if (round % IDENTITY_EVERY === 0) await this.#identify(direction)
      } catch (error) {
        // a source that is away or slow is the pipeline's to tell
        if (!isAway(error)) this.#trip(asMigrateError(error))
      }
      await pause(LOOK_EVERY, signal).catch(() => undefined)
    }
  }

  async #look(direction: Direction, round: number): Promise<void> {
    const { source, slot: slotName } = sidesOf(this.#app, this.#name, direction)
    const watch = this.#watches[direction]
    const at = performance.now()
    const { walEnd, cap, slot } = await within(readLog(source, slotName), PATIENCE)
    watch.clock.sample(at, walEnd)
    watch.filling = false
    if (slot === null) return
    if (round % BEAT_EVERY === 0) await within(beat(source, this.#name, direction), PATIENCE)
    const limit = retentionLimit(cap, serviceOf(this.#app.config, this.#name).slot)
    watch.filling = slot.retained > limit / 2
    if (slot.walStatus === 'lost') return this.#invalidated(direction, slot)
    watch.seen = true
    const now = { at, bytes: slot.retained, confirmed: slot.confirmed, walEnd }
    if (watch.retention.isBeyond(now, limit)) await this.#giveUp(direction, slot, limit)
  }

  /** The server was faster. Its pipeline may be waiting for a target that hangs, so it is told here. */
  async #invalidated(direction: Direction, { walStatus, confirmed }: SlotInfo): Promise<void> {
    // what was lost before this process is found at the start, unless it is about to be replaced
    if (!this.#watches[direction].seen || !(await isOwed(this.#app, this.#name, direction))) return
    this.#trip(faultError(this.#app, this.#name, direction, { kind: 'slot-invalid', walStatus }, confirmed))
  }

  async #giveUp(direction: Direction, slot: SlotInfo, limit: number): Promise<void> {
    if (!(await this.#isOurs())) return
    const { source, slot: slotName } = sidesOf(this.#app, this.#name, direction)
    const service = this.#name
    const { confirmed: position, retained } = slot
    const detached = { service, direction, slot: slotName, position, retained, limit }
    if (await within(isOwed(this.#app, service, direction), PATIENCE).catch(() => true)) {
      // without the note the slot is merely gone, which ends with exit 8 too: the disk comes first
      await within(noteDetached(this.#app.control, holderName(), detached), PATIENCE).catch(() => undefined)
      const at = new Date().toISOString().replace('T', ' ').replace(/\..*/, ' UTC')
      this.#trip(detachedError(this.#app, { ...detached, at }))
    }
    const until = performance.now() + DROP_WITHIN
    while ((await within(readLog(source, slotName), PATIENCE)).slot !== null && performance.now() < until) {
      await freeSlot(source, slotName)
      // busy again: the next round ends that session too
      await dropSlot(source, slotName).catch(() => undefined)
    }
  }

  /** Another process that holds the lease guards the slot itself. */
  async #isOurs(): Promise<boolean> {
    const { syncLease } = namesOf(this.#app.config, this.#name)
    const found = await within(leaseHolder(this.#app.control, syncLease), PATIENCE).catch(() => null)
    return found === null || found.holder === holderName()
  }

  /** Is the source still what this pipeline began to read? A target that does not answer leaves one question open. */
  async #identify(direction: Direction): Promise<void> {
    const { reader } = this.#watches[direction]
    if (reader === null) return
    const { source, slot, target, pipeline } = sidesOf(this.#app, this.#name, direction)
    const reading = await within(lookAtSource(this.#app, this.#name, direction), PATIENCE)
    const checkpoint = await within(readCheckpoint(target, pipeline), PATIENCE).catch(() => null)
    const latest = checkpoint?.commitLsn ?? null
    const fault = faultOf(reading, reader.origin, { earliest: reader.from, latest })
    // what began to read it anew meanwhile has looked at it itself
    if (fault === null || this.#watches[direction].reader !== reader) return
    if (await isOwed(this.#app, this.#name, direction)) {
      this.#trip(faultError(this.#app, this.#name, direction, fault, latest ?? reader.from))
    } else {
      // its pipeline takes up the stream again, finds the same, and makes the slot again
      await freeSlot(source, slot)
    }
  }

  #trip(error: MigrateError): void {
    if (!this.#tripped.signal.aborted) this.#tripped.abort(error)
  }
}

interface Watch {
  readonly clock: LagClock
  readonly retention: Retention
  filling: boolean
  /** there was a slot in good order */
  seen: boolean
  reader: { readonly origin: Origin; readonly from: Lsn } | null
}

function newWatch(): Watch {
  return { clock: new LagClock(), retention: new Retention(), filling: false, seen: false, reader: null }
}

function isAway(error: unknown): boolean {
  return !(error instanceof MigrateError) || error.code.startsWith('DATABASE_')
}
