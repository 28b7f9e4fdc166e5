import type { Relation, Transaction } from '../model/change.ts'
import { type Lsn, ZERO_LSN } from '../model/lsn.ts'
import { stillOwed } from './converge.ts'
import type { PipelineOptions } from './options.ts'
import { type Plan, planBatch } from './plan.ts'
import type { RowName, SinkBatch, SinkResult, SinkWork, Written } from './ports.ts'
import { startOf, tokenOf, touchedKeys } from './queue.ts'
import type { Receiver } from './receiver.ts'
import type { Standing } from './standing.ts'
import type { Waker } from './waker.ts'

/** While the authority row does not allow a write, it is looked at this often; milliseconds. */
const FORBIDDEN_PAUSE = 50

/** Writes batches: the sink first, what follows from it (queue, acknowledgement, legs, counters) after that. */
export class Writer {
  readonly #options: PipelineOptions
  readonly #standing: Standing
  readonly #receiver: Receiver
  readonly #waker: Waker
  readonly #keyColumns: (relation: Relation) => readonly number[]
  #settledTo: Lsn = ZERO_LSN

  constructor(options: PipelineOptions, standing: Standing, receiver: Receiver, waker: Waker) {
    this.#options = options
    this.#standing = standing
    this.#receiver = receiver
    this.#waker = waker
    this.#keyColumns = (relation) => options.sink.keyColumns(relation)
  }

  /** A batch without changes. False: the checkpoint row asks for something else now. */
  async writeNothing(work: SinkWork, to: Lsn): Promise<boolean> {
    const from = this.#standing.checkpoint
    const result = await this.#options.sink.write({ from, to, work, touched: [], token: null, start: null })
    if (result.kind === 'changed') this.#standing.stale = true
    if (result.kind !== 'written') return false
    await this.#legsRevoked(work)
    return true
  }

  /** Removes rows that the monolith lacks; false: the checkpoint row asks for something else now. */
  async removeExtra(extra: readonly RowName[]): Promise<boolean> {
    const from = this.#standing.checkpoint
    const batch = { from, to: from.commitLsn, touched: [], token: null, start: null }
    const result = await this.#options.sink.write({ ...batch, work: { kind: 'remove', extra } })
    if (result.kind === 'changed') this.#standing.stale = true
    if (result.kind !== 'written') return false
    this.#options.counters.extra += result.removed
    return true
  }

  /** Writes the first `count` of the queue. False: the checkpoint row asks for something else now. */
  async write(count: number): Promise<boolean> {
    const { skipped, checkpoint } = this.#standing
    const { queue } = this.#receiver
    const due = queue.slice(0, count).map(({ transaction }) => transaction)
    const held = (): Transaction[] => queue.slice(count).map(({ transaction }) => transaction)
    const now = performance.now()
    const plan = planBatch({ checkpoint, due, held, skipped, keyColumns: this.#keyColumns, now })
    if (plan.kind === 'none') await this.#settleExtra(due)
    const sent = await this.#send(due, plan)
    // a row of a second leg is in the way
    if (sent === 'conflict') return (await this.#send(due, { kind: 'replay', legsOlderThan: 0 })) === 'written'
    return sent === 'written'
  }

  /** What reverse drops is the service's own doing: it may have made rows that the monolith lacks. */
  async #settleExtra(due: readonly Transaction[]): Promise<void> {
    const { direction, extraRows, signal } = this.#options
    if (direction !== 'reverse' || extraRows === undefined) return
    // a batch may be written again because its checkpoint row has changed meanwhile
    const fresh = due.filter(({ commitLsn }) => commitLsn > this.#settledTo)
    await extraRows.settle(fresh, this.#keyColumns, signal)
    this.#settledTo = due.at(-1)?.commitLsn ?? this.#settledTo
  }

  async #send(due: Transaction[], plan: Plan): Promise<SinkResult['kind']> {
    const { sink, stream, service, direction } = this.#options
    const standing = this.#standing
    const last = due.at(-1) as Transaction
    const work = await this.#workOf(due, plan)
    const batch: SinkBatch = {
      from: standing.checkpoint,
      to: last.commitLsn,
      work,
      touched: standing.checkpoint.tracking === null ? [] : touchedKeys(due, this.#keyColumns),
      token: tokenOf(last, service),
      start: startOf(last, service, direction),
    }
    const result = await sink.write(batch)
    if (result.kind === 'changed' || result.kind === 'forbidden') standing.stale = true
    if (result.kind === 'forbidden') await this.#waker.sleep(FORBIDDEN_PAUSE, this.#options.signal)
    if (result.kind !== 'written') return result.kind
    await this.#options.failpoint(`sync.${direction}.before-ack`)
    this.#receiver.drop(due.length)
    standing.advance(last.commitLsn, {
      ...(batch.token === null ? {} : { token: batch.token }),
      ...(batch.start === null ? {} : { state: 'apply', authorityEpoch: batch.start.authorityEpoch }),
    })
    this.#settle(due, plan, result)
    stream.acknowledge(last.commitLsn)
    await this.#legsRevoked(work)
    this.#count(due, plan, result)
    return 'written'
  }

  #settle(due: Transaction[], plan: Plan, { missing }: Written): void {
    const { skipped } = this.#standing
    const first = due[0]?.commitLsn ?? ZERO_LSN
    if (plan.kind === 'converge') this.#standing.settle(plan.convergence.skipped, missing, first)
    if (plan.kind === 'replay') this.#standing.settle(stillOwed(skipped, due, this.#keyColumns), missing, first)
  }

  async #workOf(transactions: Transaction[], plan: Plan): Promise<SinkWork> {
    if (plan.kind === 'none') return { kind: 'none' }
    if (plan.kind === 'exact') return { kind: 'exact', revoke: [], transactions }
    const revoke = await this.#options.control.openLegs(plan.legsOlderThan)
    if (plan.kind === 'replay') return { kind: 'replay', revoke, transactions }
    return { kind: 'converge', revoke, writes: plan.convergence.writes.map(({ write }) => write) }
  }

  #count(due: Transaction[], plan: Plan, result: Written): void {
    const { counters, direction } = this.#options
    counters.transactions += due.length
    counters.rows += result.rows
    counters.serviceExtra += result.removed
    // while the service has the authority nobody but us may write to the monolith's tables
    if (plan.kind === 'none' && direction === 'forward') {
      counters.foreign += due.reduce((sum, { changes }) => sum + changes.length, 0)
    }
    if (plan.kind !== 'converge') return
    for (const [index, { quiet }] of plan.convergence.writes.entries()) {
      if (quiet && result.outcomes[index] === 'repaired') counters.repaired += 1
      if (quiet && result.outcomes[index] === 'equal') counters.verified += 1
    }
  }

  async #legsRevoked(work: SinkWork): Promise<void> {
    if (work.kind === 'none' || work.kind === 'remove' || work.revoke.length === 0) return
    await this.#options.control.legsRevoked(work.revoke)
    this.#options.counters.revoked += work.revoke.length
  }
}
