import type { Relation, Transaction } from '../model/change.ts'
import { type Lsn, ZERO_LSN } from '../model/lsn.ts'
import { stillOwed } from './converge.ts'
import type { PipelineOptions } from './options.ts'
import { type Plan, planBatch, type PlanInput } from './plan.ts'
import type { WrittenRow } from './extra-rows.ts'
import type { RowName, SinkBatch, SinkResult, SinkWork, Written } from './ports.ts'
import { startOf, tokenOf, touchedKeys } from './queue.ts'
import type { RawTransaction } from './raw-transaction.ts'
import type { Receiver } from './receiver.ts'
import type { Standing } from './standing.ts'
import { WaitingKeys } from './waiting-keys.ts'
import type { Waker } from './waker.ts'

/** While the authority row does not allow a write, it is looked at this often; milliseconds. */
const FORBIDDEN_PAUSE = 50

const NOTHING_MORE = { touched: [], part: 'whole', durable: true, token: null, start: null } as const

/** Writes batches: the sink first, what follows from it (queue, acknowledgement, legs, counters) after that. */
export class Writer {
  readonly #options: PipelineOptions
  readonly #standing: Standing
  readonly #receiver: Receiver
  readonly #waker: Waker
  readonly #keyColumns: (relation: Relation) => readonly number[]
  readonly #waiting: WaitingKeys
  /** how the parts of a big transaction are written, some of which are in the target and not committed */
  #opened: Plan | null = null

  constructor(options: PipelineOptions, standing: Standing, receiver: Receiver, waker: Waker) {
    this.#options = options
    this.#standing = standing
    this.#receiver = receiver
    this.#waker = waker
    this.#keyColumns = (relation) => options.sink.keyColumns(relation)
    this.#waiting = new WaitingKeys(this.#keyColumns)
  }

  /** Nothing but the next part of a big transaction can be written. */
  get isOpen(): boolean {
    return this.#opened !== null
  }

  /** A batch without changes. False: the checkpoint row asks for something else now. */
  async writeNothing(work: SinkWork, to: Lsn): Promise<boolean> {
    const from = this.#standing.checkpoint
    const result = await this.#options.sink.write({ ...NOTHING_MORE, from, to, work })
    if (result.kind === 'changed') this.#standing.stale = true
    if (result.kind !== 'written') return false
    await this.#legsRevoked(work)
    return true
  }

  /** Writes the first `count` of the queue. False: the checkpoint row asks for something else now. */
  async write(count: number): Promise<boolean> {
    const { skipped, checkpoint } = this.#standing
    const { queue } = this.#receiver
    const due = queue.slice(0, count).map(({ transaction }) => transaction)
    const held = (): Transaction[] =>
      queue.slice(count).flatMap(({ transaction }) => (transaction.part === 'whole' ? [transaction] : []))
    const now = performance.now()
    const plan = this.#opened ?? this.#fit(due, { checkpoint, due, held, skipped, keyColumns: this.#keyColumns, now })
    const sent = await this.#send(due, plan)
    // a row of a second leg is in the way
    if (sent === 'conflict') return (await this.#send(due, { kind: 'replay', legsOlderThan: 0 })) === 'written'
    return sent === 'written'
  }

  /** A big transaction is never taken together with what is held: it is written as it comes. */
  #fit(due: readonly RawTransaction[], input: PlanInput): Plan {
    if (due[0]?.part === 'whole') return planBatch(input)
    const { state, hold } = input.checkpoint
    if (state === 'discard') return { kind: 'none' }
    return hold || input.skipped.size > 0 ? { kind: 'replay', legsOlderThan: 0 } : { kind: 'exact' }
  }

  async #send(due: RawTransaction[], plan: Plan): Promise<SinkResult['kind']> {
    const { sink, stream, service, direction } = this.#options
    const standing = this.#standing
    const last = due.at(-1) as RawTransaction
    const ends = last.part === 'whole' || last.part === 'last'
    const work = await this.#workOf(due, plan)
    const note = await this.#keepsKeys(work)
    const batch: SinkBatch = {
      from: standing.checkpoint,
      to: last.commitLsn,
      work,
      touched: standing.checkpoint.tracking === null && !note ? [] : touchedKeys(due, this.#keyColumns),
      note,
      part: last.part,
      // somebody waits for a token, and a leg that is revoked must stay so
      // (of several parts the first one decides, which does not know what the last one says)
      durable: plan.kind !== 'exact' || (last.part === 'whole' && due.some(({ notes }) => notes.length > 0)),
      token: tokenOf(last, service),
      start: startOf(last, service, direction),
    }
    const result = await sink.write(batch)
    if (result.kind === 'changed' || result.kind === 'forbidden') standing.stale = true
    if (result.kind === 'forbidden') await this.#waker.sleep(FORBIDDEN_PAUSE, this.#options.signal)
    if (result.kind !== 'written') return result.kind
    if (!ends) {
      this.#opened = plan.kind === 'none' ? null : plan
      await this.#options.failpoint(`sync.${direction}.part`)
      return this.#written(due, plan, work, result)
    }
    this.#opened = null
    await this.#options.failpoint(`sync.${direction}.before-ack`)
    standing.advance(last.commitLsn, batch.durable, {
      ...(batch.token === null ? {} : { token: batch.token }),
      ...(batch.start === null ? {} : { state: 'apply', authorityEpoch: batch.start.authorityEpoch }),
    })
    if (batch.durable) {
      stream.acknowledge(last.commitLsn)
      await this.#options.failpoint(`sync.${direction}.after-ack`)
    }
    return this.#written(due, plan, work, result)
  }

  async #written(due: RawTransaction[], plan: Plan, work: SinkWork, result: Written): Promise<'written'> {
    if (work.kind === 'converge' || work.kind === 'replay') this.#options.extraRows?.removed(work.extra)
    this.#settle(due, plan, result)
    this.#count(due, plan, result)
    // their bytes are gone with it
    this.#receiver.drop(due.length)
    await this.#legsRevoked(work)
    return 'written'
  }

  /** Removes the extra rows that are not in the company of the monolith's own rows. */
  async removeExtra(position: Lsn): Promise<void> {
    const { extraRows, counters } = this.#options
    if (extraRows === undefined || extraRows.isEmpty) return
    const extra = await extraRows.dueAt(position, () => this.#waiting.of(this.#receiver.queue))
    if (extra.length === 0) return
    const from = this.#standing.checkpoint
    const work: SinkWork = { kind: 'converge', revoke: [], extra, writes: [] }
    const result = await this.#options.sink.write({ ...NOTHING_MORE, from, to: from.commitLsn, work })
    if (result.kind === 'changed') this.#standing.stale = true
    if (result.kind !== 'written') return
    extraRows.removed(extra)
    counters.extra += result.extra
  }

  async #extraWith(written: readonly WrittenRow[]): Promise<readonly RowName[]> {
    const { extraRows } = this.#options
    if (extraRows === undefined || extraRows.isEmpty) return []
    return extraRows.dueWith(written, this.#receiver.received, () => this.#waiting.of(this.#receiver.queue))
  }

  #writtenBy(transactions: readonly Transaction[]): WrittenRow[] {
    return transactions.flatMap(({ changes }) =>
      changes.flatMap((change) => {
        if (change.op === 'truncate') return []
        const { relation } = change
        const row = change.op === 'delete' ? change.old : change.row
        const key = this.#keyColumns(relation).map((column) => row[column] ?? null)
        return [{ name: { relation, key }, row: change.op === 'delete' ? [] : row }]
      }),
    )
  }

  #settle(due: Transaction[], plan: Plan, { missing }: Written): void {
    const { skipped } = this.#standing
    const first = due[0]?.firstLsn ?? ZERO_LSN
    if (plan.kind === 'converge') this.#standing.settle(plan.convergence.skipped, missing, first)
    if (plan.kind === 'replay') this.#standing.settle(stillOwed(skipped, due, this.#keyColumns), missing, first)
  }

  async #workOf(transactions: RawTransaction[], plan: Plan): Promise<SinkWork> {
    if (plan.kind === 'none') return { kind: 'none' }
    if (plan.kind === 'exact') return { kind: 'exact', revoke: [], transactions }
    const revoke = await this.#options.control.openLegs(plan.legsOlderThan)
    if (plan.kind === 'replay') {
      return { kind: 'replay', revoke, extra: await this.#extraWith(this.#writtenBy(transactions)), transactions }
    }
    const writes = plan.convergence.writes.map(({ write }) => write)
    const written = writes.map(({ relation, key, row }) => ({ name: { relation, key }, row }))
    return { kind: 'converge', revoke, extra: await this.#extraWith(written), writes }
  }

  #count(due: RawTransaction[], plan: Plan, result: Written): void {
    const { counters, direction } = this.#options
    counters.transactions += due.reduce((sum, { count }) => sum + count, 0)
    counters.rows += result.rows
    counters.extra += result.extra
    counters.serviceExtra += result.rivals
    // while the service has the authority nobody but us may write to the monolith's tables
    if (plan.kind === 'none' && direction === 'forward') {
      counters.foreign += due.reduce((sum, { size }) => sum + size, 0)
    }
    if (plan.kind !== 'converge') return
    for (const [index, { quiet }] of plan.convergence.writes.entries()) {
      if (quiet && result.outcomes[index] === 'repaired') counters.repaired += 1
      if (quiet && result.outcomes[index] === 'equal') counters.verified += 1
    }
  }

  /** Under a hold only: without one no leg has been sent. */
  async #keepsKeys(work: SinkWork): Promise<boolean> {
    const { control } = this.#options
    if (work.kind !== 'converge' && work.kind !== 'replay') return false
    return (await control.keepsKeys?.(work.revoke)) === true
  }

  async #legsRevoked(work: SinkWork): Promise<void> {
    if (work.kind === 'none' || work.revoke.length === 0) return
    await this.#options.control.legsRevoked(work.revoke)
    this.#options.counters.revoked += work.revoke.length
  }
}
