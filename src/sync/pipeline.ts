import { asMigrateError, MigrateError } from '../errors.ts'
import { type Lsn, ZERO_LSN } from '../model/lsn.ts'
import type { PipelineOptions } from './options.ts'
import { Flusher } from './flusher.ts'
import { batchLength, dueAt, type Pending } from './queue.ts'
import { Receiver } from './receiver.ts'
import { Reporter } from './reporter.ts'
import { Standing } from './standing.ts'
import { Waker } from './waker.ts'
import { Writer } from './writer.ts'

/** Why a pipeline ended by itself. */
export type PipelineEnd = 'reached' | 'sealed' | 'aborted'

/** How often the server is asked for its position, so that idle progress is known; milliseconds. */
const ASK_EVERY = 100
/** Idle progress is made durable this often, or after so many bytes: each time costs the target a commit. */
const IDLE_CHECKPOINT_MS = 10_000
const IDLE_CHECKPOINT_BYTES = 16n * 1024n * 1024n

/**
 * Follows one slot into one target: the only loop with effects. `sink.write` first, `stream.acknowledge` after it.
 * Throws what the stream or the sink throw, and TAKEN_OVER when another worker has claimed the checkpoint.
 */
export async function runPipeline(options: PipelineOptions): Promise<PipelineEnd> {
  return new Pipeline(options, new Standing(await options.sink.checkpoint())).run()
}

class Pipeline {
  readonly #options: PipelineOptions
  readonly #standing: Standing
  readonly #receiver: Receiver
  readonly #reporter: Reporter
  readonly #waker = new Waker()
  readonly #writer: Writer
  readonly #flusher: Flusher
  #lastAsk = 0
  /** reverse: rows of transactions up to here have been looked at */
  #announced: Lsn = ZERO_LSN

  constructor(options: PipelineOptions, standing: Standing) {
    const { service, stream, sink, openSpool } = options
    this.#options = options
    this.#standing = standing
    const news = (): void => this.#waker.wake()
    // under a hold each transaction has a time of its own, and second legs are told by what they say
    const apart = (): boolean => standing.checkpoint.hold || standing.skipped.size > 0
    this.#receiver = new Receiver({ service, stream, from: standing.checkpoint.commitLsn, openSpool, apart, news })
    this.#writer = new Writer(options, standing, this.#receiver, this.#waker)
    this.#flusher = new Flusher(options, standing, () => {
      this.#reporter.note()
      news()
    })
    this.#reporter = new Reporter(options.control, () => ({
      applied: this.#applied(),
      source: this.#receiver.received,
      checkpoint: standing.checkpoint,
    }))
    if (options.direction === 'forward') options.extraRows?.startForward(news)
    else options.extraRows?.startReverse(news)
    sink.onChange(() => {
      standing.stale = true
      this.#waker.wake()
    })
  }

  async run(): Promise<PipelineEnd> {
    const { signal } = this.#options
    const onAbort = (): void => this.#waker.wake()
    signal.addEventListener('abort', onAbort)
    this.#receiver.start()
    try {
      return await this.#apply()
    } finally {
      signal.removeEventListener('abort', onAbort)
      await this.#flusher.close()
      await this.#reporter.tell('stopped')
      await this.#receiver.close()
    }
  }

  async #apply(): Promise<PipelineEnd> {
    const standing = this.#standing
    for (;;) {
      if (this.#options.signal.aborted) return 'aborted'
      this.#throwIfEnded()
      this.#flusher.begin()
      if (standing.stale) await this.#reload()
      if (standing.checkpoint.state === 'sealed') return 'sealed'
      const pace = this.#pace()
      if (pace !== 'paused') await this.#lookAtExtra()
      const now = performance.now()
      const count = batchLength(this.#receiver.queue, (pending) => this.#isDue(pending, now))
      if (count > 0 && pace === 0) {
        await this.#write(count)
        continue
      }
      await this.#idle(pace === 'paused' ? ASK_EVERY : pace)
      if (this.#options.until !== undefined && this.#applied() >= this.#options.until) {
        await this.#persistIdle()
        return 'reached'
      }
    }
  }

  #throwIfEnded(): void {
    const { ended } = this.#receiver
    if (ended === null) return
    if (ended.error !== null) throw asMigrateError(ended.error)
    const { direction, service } = this.#options
    throw new MigrateError('DATABASE_UNREACHABLE', {
      role: direction === 'forward' ? 'monolith' : service,
      address: 'its replication connection',
      reason: 'the stream ended',
    })
  }

  /** A transaction that is written in part goes on: it holds locks in the target. */
  #pace(): number | 'paused' {
    const { pace } = this.#options
    return pace === undefined || this.#writer.isOpen ? 0 : pace.wait(performance.now())
  }

  async #write(count: number): Promise<void> {
    const { token } = this.#standing.checkpoint
    const bytes = this.#receiver.queue.slice(0, count).reduce((sum, { transaction }) => sum + transaction.bytes, 0)
    if (await this.#writer.write(count)) {
      this.#reporter.note()
      this.#options.pace?.wrote(performance.now(), bytes)
    }
    // somebody waits for a token
    if (this.#standing.checkpoint.token !== token) await this.#reporter.tell('streaming')
    else await this.#tick()
  }

  /** What is done every second, busy or not. */
  async #tick(): Promise<void> {
    if (!this.#reporter.isDue) return
    // a notification may have been lost
    this.#standing.stale = true
    this.#standing.throwIfMissing(this.#options.service)
    await this.#revokeStrays()
    await this.#reporter.tell('streaming')
  }

  /** Waits for something to do, at least `least` milliseconds; keeps the idle progress known and durable meanwhile. */
  async #idle(least: number): Promise<void> {
    const { checkpoint } = this.#standing
    const now = performance.now()
    if (now - this.#lastAsk >= ASK_EVERY) {
      this.#lastAsk = now
      this.#options.stream.askPosition()
      // no grace: a cutover is draining and waits for the last leg
      if (checkpoint.graceMs === 0) await this.#revokeStrays()
    }
    await this.#tick()
    const behind = this.#receiver.received - checkpoint.commitLsn
    const waited = performance.now() - this.#standing.durableSince
    if (waited >= IDLE_CHECKPOINT_MS || behind >= IDLE_CHECKPOINT_BYTES) await this.#persistIdle()
    const head = this.#receiver.queue[0]
    const wait = head === undefined ? ASK_EVERY : dueAt(head, this.#standing.checkpoint) - performance.now()
    await this.#waker.sleep(Math.max(1, Math.min(ASK_EVERY, Math.max(wait, least))), this.#options.signal)
  }

  /** Legs of requests that changed no row are revoked too, so that none stays open for ever. */
  async #revokeStrays(): Promise<void> {
    const { checkpoint } = this.#standing
    if (!checkpoint.hold || checkpoint.state !== 'apply' || this.#receiver.queue.length > 0) return
    if (this.#writer.isOpen) return
    const revoke = await this.#options.control.openLegs(checkpoint.graceMs * 3)
    if (revoke.length === 0) return
    await this.#writer.writeNothing({ kind: 'converge', revoke, extra: [], writes: [] }, checkpoint.commitLsn)
  }

  /** Dual-write: each direction does its part about rows that only a second leg has made. */
  async #lookAtExtra(): Promise<void> {
    const { direction, extraRows, sink } = this.#options
    if (extraRows === undefined || this.#writer.isOpen) return
    const { state, commitLsn } = this.#standing.checkpoint
    const { isIdle, received, queue } = this.#receiver
    if (direction === 'forward') {
      const position = isIdle ? received : commitLsn
      if (state === 'discard') extraRows.release(position)
      else await this.#writer.removeExtra(position)
      return
    }
    // what reverse drops is the service's own doing: it may have made rows that the monolith lacks
    if (state !== 'discard') return
    const fresh = queue.map(({ transaction }) => transaction).filter((each) => each.commitLsn > this.#announced)
    this.#announced = queue.at(-1)?.transaction.commitLsn ?? this.#announced
    await extraRows.announce(fresh, (relation) => sink.keyColumns(relation))
  }

  #isDue(pending: Pending, now: number): boolean {
    const { direction, extraRows } = this.#options
    const { checkpoint } = this.#standing
    // the rest of a transaction that is in the target in part waits for nothing: it holds locks there
    if (this.#writer.isOpen) return true
    if (direction === 'reverse' && extraRows?.isWaiting(pending.transaction.commitLsn) === true) return false
    return now >= dueAt(pending, checkpoint)
  }

  async #persistIdle(): Promise<void> {
    const to = this.#receiver.received
    if (!this.#receiver.isIdle || to <= this.#standing.checkpoint.commitLsn) return
    if (!(await this.#writer.writeNothing({ kind: 'none' }, to))) return
    this.#standing.advance(to, true)
    this.#options.stream.acknowledge(to)
  }

  async #reload(): Promise<void> {
    const standing = this.#standing
    standing.stale = false
    const found = await this.#options.sink.checkpoint()
    if (found.epoch !== standing.checkpoint.epoch && found.state !== 'sealed') {
      throw new MigrateError('TAKEN_OVER', { what: `the ${this.#options.direction} sync of ${this.#options.service}` })
    }
    const changed = found.hold !== standing.checkpoint.hold
    standing.checkpoint = found
    if (changed) await this.#reporter.tell('streaming')
  }

  /** Up to here everything is durable in the target, for readers of it. */
  #applied(): Lsn {
    const { isIdle, received } = this.#receiver
    return this.#standing.appliedOf(isIdle && !this.#standing.isBehind ? received : this.#standing.durable)
  }
}
