import { MigrateError } from '../errors.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { isPastPivot } from './decide.ts'
import type { Entry, Verb } from './entry.ts'
import { definitionOf, type SagaDetails } from './read.ts'
import { evolve, type SagaState, stateOf, stepOf } from './state.ts'

/** What an operator orders. */
export interface Order {
  readonly verb: Verb
  /** who gives it */
  readonly by: string
  readonly reason: string | null
  /** of a step that is skipped: what it gave */
  readonly result?: unknown
}

/** What the order would write. Throws SAGA_NOT_POSSIBLE. */
export function planOrder(saga: SagaDetails, service: string, order: Order): OrderEntry {
  const state = stateOf(saga.journal)
  const reason = whyNot(saga, state, order)
  if (reason !== null) {
    const { id, status } = saga
    throw new MigrateError('SAGA_NOT_POSSIBLE', { saga: id, service, status, verb: words(order.verb), reason })
  }
  return orderOf(state, order)
}

type OrderEntry = Extract<Entry, { do: 'operator' }>

/** As the journal has it. */
export function orderOf({ stuck }: SagaState, { verb, by, reason, result }: Order): OrderEntry {
  const step = verb === 'resume' || verb === 'cancel' ? null : (stuck?.step ?? null)
  return { do: 'operator', verb, by, reason, step, ...(result !== undefined && { result }) }
}

function words(verb: Verb): string {
  return verb === 'not-done' ? 'cancel' : verb
}

/** Null = it is possible. */
export function whyNot(saga: SagaDetails, state: SagaState, { verb }: Order): string | null {
  const { status } = saga
  switch (verb) {
    case 'retry':
      if (status === 'STUCK') return null
      return saga.waiting === 'retry' ? 'it is tried again by itself; resume does so now' : 'it is not STUCK'
    case 'skip':
      if (status !== 'STUCK') return 'only a step at which it is STUCK can be skipped'
      return state.stuck?.step === null ? 'it is not stuck at a step: retry it' : null
    case 'resume':
      return notWaiting(saga)
    case 'cancel':
    case 'not-done':
      return uncancellable(saga, state, verb)
  }
}

function notWaiting({ status, waiting, host, endedAt }: SagaDetails): string | null {
  if (endedAt !== null) return 'it has ended'
  if (status === 'STUCK') return 'it is STUCK, and waits for a retry or another order'
  if (host !== null) return `it is at work, in ${host}`
  return waiting === 'retry'
    ? null
    : `it does not wait for its next try${waiting === null ? '' : `, but for a ${waiting}`}`
}

function uncancellable(saga: SagaDetails, state: SagaState, verb: 'cancel' | 'not-done'): string | null {
  const { status, steps } = saga
  if (status === 'DONE' || status === 'COMPENSATED') return 'it has ended'
  if (status === 'COMPENSATING' || state.stuck?.direction === 'compensate') return 'it is being taken back already'
  const stuckAt = steps.find(({ name }) => name === state.stuck?.step)
  if (verb === 'not-done' && stuckAt?.kind !== 'pivot') return 'it is not stuck at its pivot: leave out --not-done'
  if (verb === 'not-done') return null
  if (stuckAt?.kind === 'pivot') {
    return `nobody knows whether its pivot ${stuckAt.name} has happened: find out, then --not-done, or skip it`
  }
  return isPastPivot(definitionOf(saga), state) ? 'it is past its pivot and goes forward only' : null
}

/**
 * Writes the order into the journal of the saga, inside the caller's transaction, with a row of audit. Throws
 * SAGA_NOT_POSSIBLE, SAGA_MOVED when the saga is not at that entry any more: of two operators at once, one wins.
 */
export async function giveOrder(
  tx: TransactionClient,
  saga: SagaDetails,
  { service, expectSeq, ...order }: Order & { readonly service: string; readonly expectSeq: number },
): Promise<SagaState> {
  const { id } = saga
  const { rows } = await tx.query(`select seq from eventing.saga where id = $1 for update`, [id])
  const found = (rows[0] as { seq: number } | undefined)?.seq ?? 0
  if (found !== expectSeq || saga.seq !== expectSeq) {
    throw new MigrateError('SAGA_MOVED', { saga: id, service, found, expected: expectSeq })
  }
  const entry = planOrder(saga, service, order)
  const before = stateOf(saga.journal)
  const after = evolve(before, [entry], Date.parse(saga.startedAt))
  await tx.query(`insert into eventing.saga_journal (saga_id, seq, entries) values ($1, $2, $3)`, [
    ...[id, found + 1],
    JSON.stringify([entry]),
  ])
  // a worker that has it finds that it has moved on, and reads it anew
  await tx.query(
    `update eventing.saga set seq = $2, status = $3, failure = $4, deaths = 0, waiting = null,
       due_at = case when owner is null then clock_timestamp() else due_at end where id = $1`,
    [id, found + 1, after.status, after.failure === null ? null : JSON.stringify(after.failure)],
  )
  await tx.query(
    `insert into eventing.audit (who, action, target, reason, before, after) values ($1, $2, $3, $4, $5, $6)`,
    [
      ...[order.by, `saga ${words(order.verb)}`, id, order.reason],
      JSON.stringify({ status: saga.status, step: entry.step, seq: found }),
      JSON.stringify({ status: after.status, progress: entry.step && stepOf(after, entry.step) }),
    ],
  )
  return after
}
