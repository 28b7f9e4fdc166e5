import { MigrateError } from '../errors.ts'
import type { TransactionClient } from '../model/service-database.ts'
import type { Item } from './decode.ts'
import type { ConsumerOptions, Message } from './options.ts'

// biome-ignore lint/suspicious/noExplicitAny: inside, payloads have no types
export type AnyOptions = ConsumerOptions<any>

/** Hands the messages of these items to the handlers, in order. Throws what they throw. */
export async function handleAll(tx: TransactionClient, items: readonly Item[], options: AnyOptions): Promise<void> {
  const messages = items.flatMap(({ message }) => (message === null ? [] : [message]))
  if (messages.length === 0) return
  if (options.handleBatch !== undefined) return await options.handleBatch(tx, messages)
  for (const message of messages) await handlerOf(options, message)?.(tx, message)
}

/**
 * The same in a subtransaction. Returns what went wrong, and nothing of it stays; null = nothing. Throws CONSUMER_PAUSED
 * when the transaction is lost with it.
 */
export async function tryAll(
  tx: TransactionClient,
  items: readonly Item[],
  options: AnyOptions,
): Promise<Error | null> {
  await tx.query('savepoint attempt')
  try {
    await handleAll(tx, items, options)
    // fails when a handler has swallowed an error of PostgreSQL
    await tx.query('release savepoint attempt')
    return null
  } catch (error) {
    const failed = error instanceof Error ? error : new Error(String(error))
    try {
      await tx.query('rollback to savepoint attempt')
    } catch (cause) {
      throw new MigrateError('CONSUMER_PAUSED', { consumer: options.name, reason: failed.message }, { cause })
    }
    return failed
  }
}

function handlerOf({ handlers }: AnyOptions, { type }: Message) {
  return handlers !== undefined && Object.hasOwn(handlers, type) ? handlers[type] : undefined
}
