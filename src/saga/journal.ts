import type { ConnectionPool, TransactionClient } from '../model/service-database.ts'
import type { Failure, JournalRow, SagaStatus } from './entry.ts'

/** A saga as a worker was given it. */
export interface Claimed {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly epoch: string
  readonly seq: number
  readonly input: unknown
  readonly traceparent: string | null
  readonly deaths: number
  /** milliseconds of the database; null = none */
  readonly deadline: number | null
  /** of the database, when this was read */
  readonly now: number
  readonly rows: readonly JournalRow[]
}

/** One commit of one saga. */
export interface Move {
  readonly id: string
  readonly epoch: string
  /** the last entry that was seen */
  readonly seq: number
  readonly status: SagaStatus
  readonly step: string | null
  readonly failure: Failure | null
  /** given back; `due` milliseconds until anybody may take it, null = when something happens to it */
  readonly release: { readonly waiting: 'lock' | 'reply' | 'retry' | null; readonly due: number | null } | null
  /** of the journal, as JSON: what happens to the saga meanwhile is of the next commit */
  readonly entries: string
  readonly messages: readonly SentCommand[]
  /** it gives back locks, so it may have to wait for whoever draws tickets for them */
  readonly unlocks: boolean
}

/** A message of the outbox with all its columns. */
export interface SentCommand {
  readonly id: string
  readonly aggregateType: string
  readonly aggregateId: string
  readonly type: string
  readonly payload: unknown
  readonly headers: Readonly<Record<string, string>>
  readonly topic: string
}

export interface Moved {
  /** when, milliseconds of the database */
  readonly at: number
  /** targets that this commit has given back; whoever waits for them is to be woken, see `wakeSagas` */
  readonly freed: readonly string[] | null
}

/** One statement, one transaction unless the caller has one. Null for a saga that is not as it was seen any more. */
export async function commitMoves(client: TransactionClient, moves: readonly Move[]): Promise<(Moved | null)[]> {
  const sent = moves.flatMap(({ messages }, i) => messages.map((m) => ({ ...m, of: i + 1 })))
  const { rows } = await client.query(
    `select ordinal, at, freed from eventing.saga_commit(
       $1::uuid[], $2::bigint[], $3::int[], $4::text[], $5::text[], $6::jsonb[], $7::boolean[], $8::text[], $9::float8[],
       $10::jsonb[], $11::int[], $12::uuid[], $13::text[], $14::text[], $15::text[], $16::jsonb[], $17::jsonb[], $18::text[])`,
    [
      moves.map(({ id }) => id),
      moves.map(({ epoch }) => epoch),
      moves.map(({ seq }) => seq),
      moves.map(({ status }) => status),
      moves.map(({ step }) => step),
      moves.map(({ failure }) => (failure === null ? null : JSON.stringify(failure))),
      moves.map(({ release }) => release !== null),
      moves.map(({ release }) => release?.waiting ?? null),
      moves.map(({ release }) => release?.due ?? null),
      moves.map(({ entries }) => entries),
      sent.map(({ of }) => of),
      sent.map(({ id }) => id),
      sent.map(({ aggregateType }) => aggregateType),
      sent.map(({ aggregateId }) => aggregateId),
      sent.map(({ type }) => type),
      sent.map(({ payload }) => JSON.stringify(payload ?? null)),
      sent.map(({ headers }) => JSON.stringify(headers)),
      sent.map(({ topic }) => topic),
    ],
  )
  const results: (Moved | null)[] = moves.map(() => null)
  for (const { ordinal, at, freed } of rows as (Moved & { ordinal: number })[]) results[ordinal - 1] = { at, freed }
  return results
}

/** Makes those due that hold all they were waiting for, now that these targets were given back. How many they are. */
export async function wakeSagas(client: TransactionClient, targets: readonly string[]): Promise<number> {
  const { rows } = await client.query(`select eventing.saga_wake($1::text[]) as n`, [targets])
  return (rows[0] as { n: number }).n
}

/** The bytes of a commit, about. */
export function bytesOf({ entries, messages }: Move): number {
  return entries.length + messages.length * 500
}

const COLUMNS = `id, name, version, epoch::text, seq, input, traceparent, deaths,
  extract(epoch from deadline)::float8 * 1000 as deadline, extract(epoch from clock_timestamp())::float8 * 1000 as now`

/** Takes sagas that are due, at most so many, for a worker. */
export async function claimSagas(
  pool: ConnectionPool,
  worker: string,
  definitions: { readonly names: readonly string[]; readonly versions: readonly number[] },
  most: number,
): Promise<Claimed[]> {
  const { names, versions } = definitions
  const { rows } = await pool.query(`select ${COLUMNS} from eventing.saga_claim($1, $2, $3, $4)`, [
    worker,
    [...names],
    [...versions],
    most,
  ])
  return withJournals(pool, rows as Omit<Claimed, 'rows'>[])
}

/** The saga as it is now, if this worker still has it; null when it has not. */
export async function reloadSaga(
  client: TransactionClient,
  { id, epoch }: Pick<Claimed, 'id' | 'epoch'>,
  worker: string,
): Promise<Claimed | null> {
  const { rows } = await client.query(
    `select ${COLUMNS} from eventing.saga where id = $1 and epoch = $2 and owner = $3`,
    [id, epoch, worker],
  )
  const [found] = await withJournals(client, rows as Omit<Claimed, 'rows'>[])
  return found ?? null
}

async function withJournals(client: TransactionClient, sagas: readonly Omit<Claimed, 'rows'>[]): Promise<Claimed[]> {
  if (sagas.length === 0) return []
  const journals = await readJournals(
    client,
    sagas.map(({ id }) => id),
  )
  // what was written behind the row that was read belongs to a later look
  return sagas.map((saga) => ({ ...saga, rows: (journals.get(saga.id) ?? []).filter(({ seq }) => seq <= saga.seq) }))
}

export async function readJournals(
  client: TransactionClient,
  ids: readonly string[],
): Promise<Map<string, JournalRow[]>> {
  const { rows } = await client.query(
    `select saga_id, seq, extract(epoch from at)::float8 * 1000 as at, entries from eventing.saga_journal
     where saga_id = any ($1::uuid[]) order by saga_id, seq`,
    [ids],
  )
  const journals = new Map<string, JournalRow[]>(ids.map((id) => [id, []]))
  for (const { saga_id: id, ...row } of rows as (JournalRow & { saga_id: string })[]) journals.get(id)?.push(row)
  return journals
}

/** Locks the saga for a step of its own transaction. False: it is not as it was seen any more. */
export async function lockForLocal(
  tx: TransactionClient,
  { id, epoch, seq }: Pick<Claimed, 'id' | 'epoch' | 'seq'>,
  { timeout, idle }: { readonly timeout: number; readonly idle: number },
): Promise<boolean> {
  // a process that sleeps in the middle of it must not keep the row from others
  const { rowCount } = await tx.query(
    `select set_config('statement_timeout', $4, true), set_config('idle_in_transaction_session_timeout', $5, true)
     from eventing.saga where id = $1 and epoch = $2 and seq = $3 for update`,
    [id, epoch, seq, String(timeout), String(idle)],
  )
  return rowCount === 1
}
