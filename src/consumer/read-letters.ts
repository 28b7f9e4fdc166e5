import type { TransactionClient } from '../model/service-database.ts'

export type LetterState = 'open' | 'retrying' | 'resolved' | 'discarded'

/** Those that nobody has settled. */
export const UNSETTLED: readonly LetterState[] = ['open', 'retrying']

export const EVERY: readonly LetterState[] = ['open', 'retrying', 'resolved', 'discarded']

/** Which letters are meant, in the order in which they came. */
export interface LettersWanted {
  readonly states: readonly LetterState[]
  /** null = all */
  readonly ids?: readonly string[] | null
  /** only those behind this one */
  readonly after?: string
  readonly limit: number
}

/** A dead letter of a consumer without what was in the message. */
export interface LetterRow {
  readonly id: string
  readonly consumer: string
  readonly topic: string
  readonly partition: number
  readonly offset: string
  /** null: the record had none */
  readonly key: Buffer | null
  readonly messageId: string | null
  readonly type: string | null
  readonly error: string
  readonly attempts: number
  readonly state: LetterState
  readonly createdAt: string
  /** seconds */
  readonly age: number
  readonly settledBy: string | null
  readonly settledAt: string | null
  /** null: a tombstone */
  readonly valueBytes: number | null
}

export interface WholeLetter extends LetterRow {
  /** of the record, milliseconds since 1970 */
  readonly time: string
  readonly value: Buffer | null
  /** name to its values in base64 */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly message: string
  readonly stack: string
}

export async function listLetters(client: TransactionClient, wanted: LettersWanted): Promise<LetterRow[]> {
  const { rows } = await client.query(`select ${COLUMNS} ${WANTED}`, valuesOf(wanted))
  return rows as LetterRow[]
}

/** With the bytes as they came. */
export async function readLetters(client: TransactionClient, wanted: LettersWanted): Promise<WholeLetter[]> {
  const { rows } = await client.query(
    `select ${COLUMNS}, record_time::text as "time", value, headers, message, stack ${WANTED}`,
    valuesOf(wanted),
  )
  return rows as WholeLetter[]
}

/** A key whose records wait. */
export interface WaitingKey {
  readonly consumer: string
  readonly topic: string
  readonly orderKey: Buffer
  readonly state: 'retrying' | 'blocked'
  readonly error: string
  readonly attempts: number
  /** of its next try */
  readonly dueAt: string
  readonly parkedAt: string
  /** how many */
  readonly records: number
}

/** Those that have waited longest come first. */
export async function listWaitingKeys(client: TransactionClient, limit: number): Promise<WaitingKey[]> {
  const { rows } = await client.query(
    `select consumer, topic, order_key as "orderKey", state, error, attempts, due_at::text as "dueAt",
       parked_at::text as "parkedAt", (select count(*)::int from eventing.parked_record as r
         where r.consumer = k.consumer and r.topic = k.topic and r.order_key = k.order_key) as records
     from eventing.parked_key as k order by k.parked_at, consumer, topic, order_key limit $1`,
    [limit],
  )
  return rows as WaitingKey[]
}

function valuesOf({ states, ids = null, after = '0', limit }: LettersWanted): unknown[] {
  return [states, ids, after, limit]
}

const COLUMNS = `id::text as id, consumer, topic, partition, record_offset::text as "offset", key,
  message_id as "messageId", type, error, attempts, state, created_at::text as "createdAt",
  extract(epoch from clock_timestamp() - created_at)::float8 as age, settled_by as "settledBy",
  settled_at::text as "settledAt", octet_length(value) as "valueBytes"`

const WANTED = `from eventing.dead_letter
  where state = any($1::text[]) and ($2::bigint[] is null or id = any($2::bigint[])) and id > $3
  order by dead_letter.id limit $4`
