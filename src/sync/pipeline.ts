import { MigrateError } from '../errors.ts'
import type { Transaction } from '../model/change.ts'
import { asLsn, type Lsn } from '../model/lsn.ts'
import type { Direction, SyncCounters } from '../model/progress.ts'
import { converge, type Skipped } from './converge.ts'
import type { Checkpoint, PipelineControl, Sink, SinkBatch, SinkWork, WalStream } from './ports.ts'
import { batchLength, isOurs, type Pending, startOf, tokenOf, touchedKeys } from './queue.ts'
import { Transactions } from './transactions.ts'

export interface PipelineOptions {
  readonly service: string
  readonly direction: Direction
  readonly stream: WalStream
  readonly sink: Sink
  readonly control: PipelineControl
  readonly counters: SyncCounters
  /** ends by itself once everything up to here is durable */
  readonly until?: Lsn
  /** a place where a test ends or freezes this process */
  readonly failpoint: (name: string) => Promise<void>
  readonly signal: AbortSignal
}

/** Why a pipeline ended by itself. */
export type PipelineEnd = 'reached' | 'sealed' | 'aborted'

/** Bytes of whole transactions that may wait in memory before the stream is no longer pulled. */
const WAITING_BYTES = 64 * 1024 * 1024
/** How often the server is asked for its position, so that idle progress is known; milliseconds. */
const ASK_EVERY = 100
const REPORT_EVERY = 1_000
/** Idle progress is made durable this often, or after so many bytes: each time costs the target a commit. */
const IDLE_CHECKPOINT_MS = 10_000
const IDLE_CHECKPOINT_BYTES = 16n * 1024n * 1024n

/**
 * Follows one slot into one target: the only loop with effects. `sink.write` first, `stream.acknowledge` after it.
 * Throws what the stream or the sink throw, and TAKEN_OVER when another worker has claimed the checkpoint.
 */
export async function runPipeline(options: PipelineOptions): Promise<PipelineEnd> {
  const pipeline = new Pipeline(options, await options.sink.checkpoint())
  return pipeline.run()
}

class Pipeline {
  readonly #options: PipelineOptions
  readonly #transactions = new Transactions()
  #checkpoint: Checkpoint
  #queue: Pending[] = []
  #queued = 0
  #received: Lsn
  #written: Lsn
  #skipped: Skipped = new Map()
  #stale = false
  #wake: () => void = () => undefined
  #drained: () => void = () => undefined
  #failed: { error: unknown } | null = null
  #lastAsk = 0
  #lastReport = 0
  #reported: Lsn
  #news = true
  #lastDurable = performance.now()

  constructor(options: PipelineOptions, checkpoint: Checkpoint) {
    this.#options = options
    this.#checkpoint = checkpoint
    this.#received = checkpoint.commitLsn
    this.#written = checkpoint.commitLsn
    this.#reported = asLsn(0n)
    options.sink.onChange(() => {
      this.#stale = true
      this.#wake()
    })
  }

  async run(): Promise<PipelineEnd> {
    const { signal, stream } = this.#options
    const onAbort = (): void => this.#wake()
    signal.addEventListener('abort', onAbort)
    const receiving = this.#receive().catch((error: unknown) => {
      this.#failed = { error }
      this.#wake()
    })
    try {
      return await this.#apply()
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#queued = 0
      this.#drained()
      await this.#report('stopped')
      await stream[Symbol.asyncDispose]()
      await receiving
    }
  }

  async #receive(): Promise<void> {
    const { stream, service } = this.#options
    for await (const frames of stream.frames()) {
      for (const frame of frames) {
        if (frame.kind === 'keepalive') {
          // inside a transaction the server's position says nothing about what is still to come
          if (!this.#transactions.inside && frame.walEnd > this.#received) this.#received = frame.walEnd
          continue
        }
        const transaction = this.#transactions.push(frame.bytes)
        if (transaction === null) continue
        this.#received = transaction.commitLsn
        const ours = isOurs(transaction, service)
        this.#queue.push({
          transaction: ours ? { ...transaction, changes: [] } : transaction,
          receivedAt: performance.now(),
        })
        this.#queued += transaction.bytes
      }
      this.#wake()
      while (this.#queued > WAITING_BYTES) {
        await new Promise<void>((resolve) => {
          this.#drained = resolve
        })
      }
    }
    throw new MigrateError('DATABASE_UNREACHABLE', {
      role: this.#options.direction === 'forward' ? 'monolith' : this.#options.service,
      address: 'its replication connection',
      reason: 'the stream ended',
    })
  }

  async #apply(): Promise<PipelineEnd> {
    for (;;) {
      if (this.#options.signal.aborted) return 'aborted'
      if (this.#failed !== null) throw this.#failed.error
      if (this.#stale) await this.#reload()
      if (this.#checkpoint.state === 'sealed') return 'sealed'
      const count = batchLength(this.#queue, (pending) => this.#isDue(pending))
      if (count > 0) {
        await this.#write(this.#queue.slice(0, count).map((pending) => pending.transaction))
        continue
      }
      await this.#idle()
      if (this.#options.until !== undefined && this.#applied() >= this.#options.until) {
        await this.#persistIdle(true)
        return 'reached'
      }
    }
  }

  #isDue(pending: Pending): boolean {
    const { hold, graceMs } = this.#checkpoint
    return !hold || performance.now() >= pending.receivedAt + graceMs
  }

  async #write(transactions: Transaction[]): Promise<void> {
    const { sink, stream, service, direction, counters } = this.#options
    const last = transactions.at(-1) as Transaction
    const plan = await this.#plan(transactions)
    const batch: SinkBatch = {
      from: this.#checkpoint,
      to: last.commitLsn,
      work: plan.work,
      touched: this.#checkpoint.tracking === null ? [] : touchedKeys(transactions, (r) => sink.keyColumns(r)),
      token: tokenOf(last, service),
      start: startOf(last, service, direction),
    }
    const result = await sink.write(batch)
    if (result.kind === 'changed') {
      this.#stale = true
      return
    }
    if (result.kind === 'forbidden') {
      await this.#sleep(50)
      return
    }
    await this.#options.failpoint(`sync.${direction}.before-ack`)
    this.#queue.splice(0, transactions.length)
    this.#queued -= transactions.reduce((sum, transaction) => sum + transaction.bytes, 0)
    this.#drained()
    this.#checkpoint = {
      ...this.#checkpoint,
      commitLsn: last.commitLsn,
      token: batch.token ?? this.#checkpoint.token,
      ...(batch.start === null ? {} : { state: 'apply' as const, authorityEpoch: batch.start.authorityEpoch }),
    }
    this.#written = last.commitLsn
    this.#skipped = plan.skipped
    this.#lastDurable = performance.now()
    stream.acknowledge(last.commitLsn)
    if (batch.work.kind === 'converge' && batch.work.revoke.length > 0) {
      await this.#options.control.legsRevoked(batch.work.revoke)
      counters.revoked += batch.work.revoke.length
    }
    counters.transactions += transactions.length
    counters.rows += result.rows
    for (const [index, changed] of result.changed.entries()) {
      if (plan.quiet[index] !== true) continue
      if (changed) counters.repaired += 1
      else counters.verified += 1
    }
    this.#news = true
    if (performance.now() - this.#lastReport > 100 || batch.token !== null) await this.#report('streaming')
  }

  async #plan(transactions: Transaction[]): Promise<{ work: SinkWork; skipped: Skipped; quiet: readonly boolean[] }> {
    const { sink, control, counters, direction } = this.#options
    const { state, hold, graceMs } = this.#checkpoint
    const nothing = { work: { kind: 'none' } as const, skipped: this.#skipped, quiet: [] }
    const rows = transactions.some((transaction) => transaction.changes.length > 0)
    if (state === 'discard') {
      // while the service has the authority nobody but us may write to the monolith's tables
      if (direction === 'forward') counters.foreign += transactions.reduce((n, t) => n + t.changes.length, 0)
      return nothing
    }
    if (!rows) return nothing
    // keys that were left out under a hold that has just ended still have to be made equal
    const settled = this.#skipped.size === 0
    if (!hold && settled) return { ...nothing, work: { kind: 'exact', revoke: [], transactions } }
    const truncates = transactions.some((t) => t.changes.some((change) => change.op === 'truncate'))
    const held = this.#queue.slice(transactions.length).map((pending) => pending.transaction)
    const plan = converge(transactions, held, (r) => sink.keyColumns(r), this.#skipped, performance.now())
    // a leg that was open when the oldest of these changes came has been open for the whole grace
    const revoke = await control.openLegs(plan.early || truncates ? 0 : graceMs)
    if (truncates) return { ...nothing, work: { kind: 'exact', revoke, transactions } }
    return { work: { kind: 'converge', revoke, writes: plan.writes }, skipped: plan.skipped, quiet: plan.quiet }
  }

  /** Waits for something to do; keeps the idle progress known and durable meanwhile. */
  async #idle(): Promise<void> {
    const now = performance.now()
    if (now - this.#lastAsk >= ASK_EVERY) {
      this.#lastAsk = now
      this.#options.stream.askPosition()
      // no grace: a cutover is draining and waits for the last leg
      if (this.#checkpoint.graceMs === 0) await this.#revokeStrays()
    }
    if (now - this.#lastReport >= REPORT_EVERY || (this.#news && now - this.#lastReport >= 100)) {
      // a notification may have been lost
      this.#stale = true
      await this.#revokeStrays()
      await this.#report('streaming')
    }
    await this.#persistIdle(false)
    const head = this.#queue[0]
    const wait = head === undefined ? ASK_EVERY : head.receivedAt + this.#checkpoint.graceMs - performance.now()
    await this.#sleep(Math.max(1, Math.min(ASK_EVERY, wait)))
  }

  /** Legs of requests that changed no row are revoked too, so that none stays open for ever. */
  async #revokeStrays(): Promise<void> {
    const { control, sink, counters } = this.#options
    const { hold, graceMs, state } = this.#checkpoint
    if (!hold || state !== 'apply' || this.#queue.length > 0) return
    const revoke = await control.openLegs(graceMs === 0 ? 0 : graceMs * 3)
    if (revoke.length === 0) return
    const result = await sink.write({
      from: this.#checkpoint,
      to: this.#checkpoint.commitLsn,
      work: { kind: 'converge', revoke, writes: [] },
      touched: [],
      token: null,
      start: null,
    })
    if (result.kind !== 'written') return
    await control.legsRevoked(revoke)
    counters.revoked += revoke.length
  }

  async #persistIdle(now: boolean): Promise<void> {
    if (this.#queue.length > 0 || this.#transactions.inside || this.#received <= this.#checkpoint.commitLsn) return
    const waited = performance.now() - this.#lastDurable
    const bytes = this.#received - this.#checkpoint.commitLsn
    if (!now && waited < IDLE_CHECKPOINT_MS && bytes < IDLE_CHECKPOINT_BYTES) return
    const to = this.#received
    const result = await this.#options.sink.write({
      from: this.#checkpoint,
      to,
      work: { kind: 'none' },
      touched: [],
      token: null,
      start: null,
    })
    if (result.kind !== 'written') {
      this.#stale = true
      return
    }
    this.#checkpoint = { ...this.#checkpoint, commitLsn: to }
    this.#lastDurable = performance.now()
    this.#options.stream.acknowledge(to)
  }

  async #reload(): Promise<void> {
    this.#stale = false
    const found = await this.#options.sink.checkpoint()
    if (found.epoch !== this.#checkpoint.epoch && found.state !== 'sealed') {
      throw new MigrateError('TAKEN_OVER', { what: `the ${this.#options.direction} sync of ${this.#options.service}` })
    }
    const changed = found.hold !== this.#checkpoint.hold
    this.#checkpoint = found
    if (changed) await this.#report('streaming')
  }

  /** Up to here everything is durable in the target, for readers of it: skipped keys hold it back. */
  #applied(): Lsn {
    const idle = this.#queue.length === 0 && !this.#transactions.inside
    let applied = idle ? this.#received : this.#written
    for (const { lsn } of this.#skipped.values()) {
      if (lsn <= applied) applied = asLsn(lsn - 1n)
    }
    return applied
  }

  async #report(phase: 'streaming' | 'stopped'): Promise<void> {
    const applied = this.#applied()
    this.#lastReport = performance.now()
    await this.#options.control.publish({
      phase,
      state: this.#checkpoint.state,
      applied,
      source: this.#received,
      hold: this.#checkpoint.hold,
      news: applied > this.#reported,
    })
    this.#reported = applied
    this.#news = false
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, milliseconds)
      function done(): void {
        clearTimeout(timer)
        resolve()
      }
      this.#wake = done
      if (this.#options.signal.aborted) done()
    })
  }
}
