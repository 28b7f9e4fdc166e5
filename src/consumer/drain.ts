import { pause } from '../model/pause.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { inTransaction } from '../transaction.ts'
import { tryAll } from './attempts.ts'
import type { Context } from './context.ts'
import { describe, keepLetters } from './dead-letter.ts'
import { decode, type Item } from './decode.ts'
import { takeIn, takeOut } from './inbox.ts'
import { headersOfJson } from './parking.ts'
import { reopenLetter, resolveLetter } from './letters.ts'

/** How often it looks for keys that are due, milliseconds. */
const LOOK = 250
/** Records of a key in one transaction. */
const SOME = 50

/** Tries parked keys again when they are due, each in order. Any process of the consumer may; the row's lock decides. */
export async function drainKeys(context: Context, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const key = await inTransaction(context.pool, (tx) => drainOne(tx, context))
    if (key === null) await pause(LOOK, signal).catch(() => undefined)
    else await letGo(context, key)
  }
}

interface ParkedKey {
  readonly consumer: string
  readonly topic: string
  readonly orderKey: Buffer
  readonly attempts: number
}

/** Handles some records of a key that is due. Null: none is. */
async function drainOne(tx: TransactionClient, context: Context): Promise<ParkedKey | null> {
  // no key update: consumers may add records behind it meanwhile
  const { rows } = await tx.query(
    `select consumer, topic, order_key as "orderKey", attempts,
       set_config('idle_in_transaction_session_timeout', $2, true)
     from eventing.parked_key
     where consumer = $1 and state = 'retrying' and due_at <= clock_timestamp()
     order by due_at limit 1 for no key update skip locked`,
    [context.consumer, String(context.stall)],
  )
  const key = rows[0] as ParkedKey | undefined
  if (key === undefined) return null
  const records = await recordsOf(tx, key)
  const held = context.blocks && records.some(({ letter }) => letter !== null) && (await hasOpenLetter(tx, key))
  for (const parked of records) {
    const done = !(held && parked.letter === null) && (await drainRecord(tx, context, { key, parked }))
    if (!done) break
  }
  if (held) await blockAgain(tx, key)
  await context.failpoint('consumer.drained')
  return key
}

interface ParkedRecord {
  readonly partition: number
  readonly record_offset: string
  readonly record_time: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, string[]>
  readonly letter: string | null
}

/** Letters that are tried again come first: what waits behind them came later, whatever its partition. */
async function recordsOf(tx: TransactionClient, key: ParkedKey): Promise<ParkedRecord[]> {
  const records = `select * from eventing.parked_record ${WHERE_KEY}`
  const { rows } = await tx.query(
    `select partition, record_offset::text, record_time::text, key, value, headers, letter::text
     from ((${records} and letter is not null order by letter limit ${SOME}) union all
       (${records} and letter is null order by partition, record_offset limit ${SOME})) as r
     order by r.letter nulls last, r.partition, r.record_offset limit ${SOME}`,
    keyValues(key),
  )
  return rows as ParkedRecord[]
}

/** Somebody has retried one letter of a key that has another one. */
async function hasOpenLetter(tx: TransactionClient, key: ParkedKey): Promise<boolean> {
  const { rowCount } = await tx.query(
    `select 1 from eventing.dead_letter ${WHERE_KEY} and state = 'open' limit 1`,
    keyValues(key),
  )
  return rowCount !== 0
}

/** When what was retried is done, the key waits for its other letter. */
async function blockAgain(tx: TransactionClient, key: ParkedKey): Promise<void> {
  await tx.query(
    `${UPDATE} state = 'blocked' ${WHERE_KEY} and state = 'retrying' and not exists (
       select 1 from eventing.parked_record ${WHERE_KEY} and letter is not null)`,
    keyValues(key),
  )
}

interface Turn {
  readonly key: ParkedKey
  readonly parked: ParkedRecord
}

/** False: the key waits on. */
async function drainRecord(tx: TransactionClient, context: Context, turn: Turn): Promise<boolean> {
  const { key, parked } = turn
  const { options, consumer } = context
  const item = await itemOf(context, turn)
  // a letter that is tried again has been there
  const [fresh] = parked.letter === null ? await takeIn(tx, consumer, [item]) : [item]
  const error = fresh === undefined ? null : (item.error ?? (await tryAll(tx, [item], options)))
  if (error === null) {
    await remove(tx, turn)
    if (parked.letter !== null) await resolveLetter(tx, parked.letter)
    if (key.attempts > 0) await tx.query(`${UPDATE} attempts = 0 ${WHERE_KEY}`, keyValues(key))
    return true
  }
  const attempts = key.attempts + 1
  if (context.classify(error) === 'transient' && attempts < context.tries) {
    if (parked.letter === null) await takeOut(tx, consumer, [item])
    await tx.query(
      `${UPDATE} attempts = $4, error = $5, due_at = clock_timestamp() + make_interval(secs => $6 / 1000.0) ${WHERE_KEY}`,
      [...keyValues(key), attempts, describe(error).fqcn, context.wait(attempts)],
    )
    return false
  }
  await giveUp(tx, context, { item, error, attempts, turn })
  return !context.blocks
}

async function giveUp(
  tx: TransactionClient,
  context: Context,
  { item, error, attempts, turn }: { item: Item; error: Error; attempts: number; turn: Turn },
): Promise<void> {
  const { key, parked } = turn
  await remove(tx, turn)
  if (parked.letter !== null) {
    // its topic has it already
    await reopenLetter(tx, parked.letter, describe(error))
  } else {
    await keepLetters(tx, context.consumer, [{ item, error, attempts }])
    await context.publish([{ item, error, attempts }])
    await context.failpoint('consumer.dead-letter-published')
    context.options.onDeadLetter?.({ topic: key.topic, offset: item.record.offset, error })
  }
  const state = context.blocks ? 'blocked' : 'retrying'
  await tx.query(`${UPDATE} attempts = 0, state = $4, error = $5 ${WHERE_KEY}`, [
    ...[...keyValues(key), state, describe(error).fqcn],
  ])
}

async function itemOf({ options }: Context, { key: { topic }, parked }: Turn): Promise<Item> {
  const { partition, record_offset, record_time, key, value, headers } = parked
  const place = { topic, partition, offset: BigInt(record_offset), time: Number(record_time) }
  return await decode({ ...place, key, value, headers: headersOfJson(headers) }, options.events)
}

/** The key itself goes when nothing waits behind it; in a transaction of its own, which holds nothing else meanwhile. */
async function letGo({ pool }: Context, key: ParkedKey): Promise<void> {
  await inTransaction(pool, async (tx) => {
    // waits for consumers that are adding records; only the next statement sees them
    await tx.query(`select 1 from eventing.parked_key ${WHERE_KEY} and state = 'retrying' for update`, keyValues(key))
    await tx.query(
      `delete from eventing.parked_key as k ${WHERE_KEY} and state = 'retrying' and not exists (
         select 1 from eventing.parked_record as r
         where r.consumer = k.consumer and r.topic = k.topic and r.order_key = k.order_key)`,
      keyValues(key),
    )
  })
}

async function remove(tx: TransactionClient, { key, parked }: Turn): Promise<void> {
  await tx.query(`delete from eventing.parked_record ${WHERE_KEY} and partition = $4 and record_offset = $5`, [
    ...keyValues(key),
    parked.partition,
    parked.record_offset,
  ])
}

const UPDATE = 'update eventing.parked_key set'
const WHERE_KEY = 'where consumer = $1 and topic = $2 and order_key = $3'

function keyValues({ consumer, topic, orderKey }: ParkedKey): unknown[] {
  return [consumer, topic, orderKey]
}
