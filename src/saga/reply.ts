import { MigrateError } from '../errors.ts'
import { event } from '../events/define.ts'
import { UUID } from '../events/encode.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { type AnySaga, placed, type Step } from './definition.ts'
import { checkedReply } from './checked-reply.ts'
import { type Direction, type Entry, readable } from './entry.ts'
import { readJournals } from './journal.ts'
import { type ParticipantAnswer, parseKey } from './participant.ts'
import { retryIn } from './policy.ts'
import { evolve, type SagaState, stateOf, stepOf } from './state.ts'

/** What a participant sends back. */
export interface SagaReply {
  /** of the command */
  readonly key: string
  readonly answer: ParticipantAnswer
}

/** The message of a reply, for a consumer. */
export const REPLIES = { SagaReply: event<SagaReply>() }

/**
 * Takes replies into the sagas that wait for them, inside the consumer's transaction. What nobody waits for any more is
 * passed over. Returns how many sagas go on. Throws SAGA_REPLY_INVALID.
 */
export async function receiveReplies(
  tx: TransactionClient,
  sagas: readonly AnySaga[],
  replies: readonly SagaReply[],
): Promise<number> {
  const asked = replies.map(read)
  const ids = [...new Set(asked.map(({ sagaId }) => sagaId))]
  const { rows } = await tx.query(
    `select id, name, version, seq, extract(epoch from clock_timestamp())::float8 * 1000 as now from eventing.saga
     where id = any ($1::uuid[]) and ended_at is null order by id for update`,
    [ids],
  )
  const found = rows as Row[]
  const journals = await readJournals(
    tx,
    found.map(({ id }) => id),
  )
  const moved: Taken[] = []
  for (const row of found) {
    const definition = sagas.find(({ name, version }) => name === row.name && version === row.version)
    const state = stateOf(journals.get(row.id) ?? [])
    const mine = asked.filter(({ sagaId }) => sagaId === row.id)
    const entries = await entriesOf(mine, { definition, state, now: row.now })
    if (entries.length > 0) moved.push({ id: row.id, entries, after: evolve(state, entries, row.now) })
  }
  await write(tx, moved)
  return moved.length
}

interface Row {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly now: number
}

interface Answered {
  readonly sagaId: string
  readonly step: string
  readonly direction: Direction
  readonly answer: ParticipantAnswer
}

function read(reply: SagaReply | null): Answered {
  const { outcome } = (reply?.answer ?? {}) as { outcome?: string }
  if (reply === null || (outcome !== 'done' && outcome !== 'refused')) {
    throw new MigrateError('SAGA_REPLY_INVALID', { reason: 'it says neither done nor refused' })
  }
  const asked = parseKey(String(reply.key))
  if (!UUID.test(asked.sagaId))
    throw new MigrateError('SAGA_REPLY_INVALID', { reason: 'the id of its saga is no UUID' })
  return { ...asked, answer: reply.answer }
}

interface Seen {
  readonly definition: AnySaga | undefined
  readonly state: SagaState
  readonly now: number
}

/** The first answer to each that the saga waits for, or has given up at. */
async function entriesOf(answers: readonly Answered[], { definition, state, now }: Seen): Promise<Entry[]> {
  const entries = new Map<string, Entry>()
  for (const { step, direction, answer } of answers) {
    const at = `${step}/${direction}`
    const { state: progress } = stepOf(state, step)[direction]
    if (entries.has(at) || !['intent', 'unknown', 'given-up'].includes(progress)) continue
    // going back does not hear whether it went forward: it takes that back in any case
    if (direction === 'execute' && state.status === 'COMPENSATING') continue
    const defined = definition && placed(definition).find(({ step: { name } }) => name === step)?.step
    entries.set(at, await entryOf({ step, direction, answer }, defined, state, now))
  }
  return [...entries.values()]
}

async function entryOf(
  { step, direction, answer }: Pick<Answered, 'step' | 'direction' | 'answer'>,
  defined: Step | undefined,
  state: SagaState,
  now: number,
): Promise<Entry> {
  const via = 'reply'
  if (answer.outcome === 'refused') {
    // somebody else may have written it
    const error = { code: 'STEP_REFUSED', message: readable(answer.reason ?? 'it gave no reason') }
    if (direction === 'execute') return { do: 'refused', step, error }
    const progress = stepOf(state, step)[direction]
    const wait = retryIn(defined ?? { kind: 'compensable' }, direction, progress, { now, error: null })
    return { do: 'unknown', step, direction, error, retryIn: wait }
  }
  if (direction === 'compensate') return { do: 'done', step, direction, via }
  // a process of another release shares the topic: whoever has the definition checks it
  if (defined === undefined) return { do: 'done', step, direction, result: answer.result, via, unchecked: true }
  return checkedReply(defined, answer.result)
}

interface Taken {
  readonly id: string
  readonly entries: readonly Entry[]
  readonly after: SagaState
}

async function write(tx: TransactionClient, moved: readonly Taken[]): Promise<void> {
  if (moved.length === 0) return
  // a worker that has one of them finds that it has moved on, and reads it anew
  await tx.query(
    `with moved as (
       update eventing.saga s set seq = s.seq + 1, waiting = null, status = g.status, failure = g.failure,
         due_at = case when g.status = 'STUCK' then s.due_at else clock_timestamp() end
       from unnest($1::uuid[], $2::jsonb[], $3::text[], $4::jsonb[]) as g (id, entries, status, failure)
       where s.id = g.id
       returning s.id, s.seq, g.entries
     )
     insert into eventing.saga_journal (saga_id, seq, entries) select id, seq, entries from moved`,
    [
      moved.map(({ id }) => id),
      moved.map(({ entries }) => JSON.stringify(entries)),
      moved.map(({ after }) => after.status),
      moved.map(({ after }) => (after.failure === null ? null : JSON.stringify(after.failure))),
    ],
  )
}
