import { MigrateError } from '../errors.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { storable } from './call.ts'
import { type Direction, readable } from './entry.ts'
import { isRefusal } from './refusal.ts'

/** What a saga asks of a participant, read from its idempotency key. */
export interface Asked {
  readonly sagaId: string
  readonly step: string
  readonly direction: Direction
}

/** What a participant answers: that it is done, now or before, or that it has refused. */
export type ParticipantAnswer<Result = unknown> =
  | { readonly outcome: 'done'; readonly result: Result }
  | { readonly outcome: 'refused'; readonly reason: string }

/**
 * Does what a saga asks for at most once: the handler's writes through `tx` and the note of the key are one transaction,
 * and whoever asks again gets the answer that was noted. An execute that comes after its compensation is refused. A
 * compensation of what was never executed, or refused, is noted and done without the handler; otherwise the handler gets
 * what the execute has returned. A refused execute stays refused, a refused compensation may be asked for again. Errors of the
 * handler but StepRefused are thrown on: roll back, it may be asked again.
 */
export async function participant<Result>(
  tx: TransactionClient,
  { key }: { readonly key: string },
  handler: (asked: Asked, executed: unknown) => Promise<Result>,
): Promise<ParticipantAnswer<Result>> {
  const asked = parseKey(key)
  const row = await lock(tx, `${asked.sagaId}/${asked.step}`)
  const answer =
    asked.direction === 'execute' ? await execute(tx, row, asked, handler) : await compensate(tx, row, asked, handler)
  return answer as ParticipantAnswer<Result>
}

/**
 * Forgets what was asked for so many days ago: longer than a saga may take, its operators included. How many they were, at
 * most 10,000 at a time.
 */
export async function forgetAnswers(client: TransactionClient, days: number): Promise<number> {
  const { rowCount } = await client.query(
    `delete from eventing.saga_participant where ctid = any (array(
       select ctid from eventing.saga_participant
       where created_at < clock_timestamp() - $1 * interval '1 day' limit 10000))`,
    [days],
  )
  return rowCount ?? 0
}

/** Throws SAGA_KEY_INVALID for what is no idempotency key of a saga. */
export function parseKey(key: string): Asked {
  const [sagaId, step, direction, ...rest] = key.split('/')
  const known = direction === 'execute' || direction === 'compensate'
  if (!sagaId || !step || !known || rest.length > 0) {
    throw new MigrateError('SAGA_KEY_INVALID', { key: key.slice(0, 100) })
  }
  return { sagaId, step, direction }
}

interface Row {
  readonly key: string
  readonly executed: ParticipantAnswer | null
  readonly compensated: ParticipantAnswer | null
}

/** Two that are asked for the same wait for each other here. */
async function lock(tx: TransactionClient, key: string): Promise<Row> {
  await tx.query(`insert into eventing.saga_participant (key) values ($1) on conflict do nothing`, [key])
  const { rows } = await tx.query(
    `select key, executed, compensated from eventing.saga_participant where key = $1 for update`,
    [key],
  )
  return rows[0] as Row
}

type Handler = (asked: Asked, executed: unknown) => Promise<unknown>

async function execute(tx: TransactionClient, row: Row, asked: Asked, handler: Handler): Promise<ParticipantAnswer> {
  if (row.compensated !== null) return { outcome: 'refused', reason: 'it has been compensated' }
  if (row.executed !== null) return row.executed
  const answer = await refusable(tx, () => handler(asked, undefined))
  await note(tx, row, 'executed', answer)
  return answer
}

async function compensate(tx: TransactionClient, row: Row, asked: Asked, handler: Handler): Promise<ParticipantAnswer> {
  if (row.compensated !== null) return row.compensated
  const executed = row.executed?.outcome === 'done' ? row.executed : null
  const answer = await refusable(tx, async () => executed && handler(asked, executed.result))
  // whoever cannot take it back now is asked again
  if (answer.outcome === 'done') await note(tx, row, 'compensated', answer)
  return answer
}

/** What a handler wrote before it refused is undone. */
async function refusable(tx: TransactionClient, run: () => Promise<unknown>): Promise<ParticipantAnswer> {
  await tx.query('savepoint saga_participant')
  try {
    const result = storable(await run()) ?? null
    await tx.query('release savepoint saga_participant')
    return { outcome: 'done', result }
  } catch (error) {
    if (!isRefusal(error)) throw error
    await tx.query('rollback to savepoint saga_participant')
    return { outcome: 'refused', reason: readable(error.context.reason) }
  }
}

async function note(
  tx: TransactionClient,
  { key }: Row,
  column: 'executed' | 'compensated',
  answer: ParticipantAnswer,
): Promise<void> {
  await tx.query(`update eventing.saga_participant set ${column} = $2 where key = $1`, [key, JSON.stringify(answer)])
}
