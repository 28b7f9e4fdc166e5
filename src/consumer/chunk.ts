import { MigrateError } from '../errors.ts'
import type { EventDefinitions } from '../events/define.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { inTransaction } from '../transaction.ts'
import { handleAll } from './attempts.ts'
import { handleCarefully } from './careful.ts'
import type { Context } from './context.ts'
import { keepLetters } from './dead-letter.ts'
import { decode, type Item } from './decode.ts'
import { takeIn } from './inbox.ts'
import { type Claim, moveOffset } from './offsets.ts'
import { keyText, parkedAmong, parkKeys, parkRecords } from './parking.ts'
import type { ConsumedRecord } from './ports.ts'

/**
 * Handles records of one partition in one transaction, which also moves its offset to `to`. First all at once; when
 * something fails nothing of that stays, and they are handled one by one in another transaction. Throws PARTITION_LOST,
 * CONSUMER_PAUSED, BROKER_UNAVAILABLE, and what the database says.
 */
export async function handleChunk(
  context: Context,
  claim: Claim,
  records: readonly ConsumedRecord[],
  to: bigint,
): Promise<void> {
  const items = await decodeAll(context, records)
  const handled = items.every(({ error }) => error === null) && (await handledAtOnce(context, claim, items, to))
  if (!handled) await inTransaction(context.pool, (tx) => oneByOne(tx, context, { claim, items, to }))
  await context.failpoint('consumer.after-commit')
}

/** Only those that somebody handles. */
async function decodeAll({ options }: Context, records: readonly ConsumedRecord[]): Promise<Item[]> {
  const { handlers, events } = options
  const items: Item[] = []
  for (const record of records) {
    const item = await decode(record, events as EventDefinitions)
    const wanted = handlers === undefined || (item.type !== null && Object.hasOwn(handlers, item.type))
    if ((item.message !== null || item.error !== null) && wanted) items.push(item)
  }
  return items
}

/** False: something failed. */
async function handledAtOnce(context: Context, claim: Claim, items: readonly Item[], to: bigint): Promise<boolean> {
  const { pool, options, failpoint } = context
  try {
    await inTransaction(pool, async (tx) => {
      const fresh = await begin(tx, context, { claim, items, to })
      await handleAll(tx, fresh, options)
      // the commit of a transaction whose error a handler has swallowed would succeed, and do nothing
      await tx.query('select 1')
      await failpoint('consumer.before-commit')
    })
    return true
  } catch (error) {
    if (error instanceof MigrateError && error.code === 'PARTITION_LOST') throw error
    return false
  }
}

interface Chunk {
  readonly claim: Claim
  readonly items: readonly Item[]
  readonly to: bigint
}

/** Moves the offset first, which locks it; returns what there is to handle now. */
async function begin(tx: TransactionClient, { stall }: Context, { claim, items, to }: Chunk): Promise<Item[]> {
  await moveOffset(tx, claim, to, stall)
  if (items.length === 0) return []
  const parked = await parkedAmong(tx, claim, items)
  if (parked.size === 0) return await takeIn(tx, claim.consumer, items)
  const behind = items.filter((item) => parked.has(keyText(item)))
  await parkRecords(tx, claim, behind)
  return await takeIn(
    tx,
    claim.consumer,
    items.filter((item) => !parked.has(keyText(item))),
  )
}

async function oneByOne(tx: TransactionClient, context: Context, chunk: Chunk): Promise<void> {
  const { claim } = chunk
  const { failpoint, publish, consumer, options } = context
  const { parked, behind, letters } = await handleCarefully(tx, context, await begin(tx, context, chunk))
  await parkKeys(tx, claim, parked)
  await parkRecords(tx, claim, behind)
  if (parked.length > 0) await failpoint('consumer.parked')
  if (letters.length > 0) {
    await keepLetters(tx, consumer, letters)
    // before the offset moves: what cannot be published is not passed over
    await publish(letters)
    await failpoint('consumer.dead-letter-published')
    for (const { item, error } of letters) {
      options.onDeadLetter?.({ topic: item.record.topic, offset: item.record.offset, error })
    }
  }
  await failpoint('consumer.before-commit')
}
