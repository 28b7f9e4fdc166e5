import { asMigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import { isTransient } from '../model/transient.ts'
import type { OutboundMessage, Publisher } from '../outbox/ports.ts'
import { retry } from '../retry.ts'
import type { AnyOptions } from './attempts.ts'
import { type Context, contextOf } from './context.ts'
import { drainKeys } from './drain.ts'
import { forgetIds } from './inbox.ts'
import { partitionReader } from './partition.ts'
import type { Group } from './ports.ts'

/** The broker, for a consumer. */
export interface Broker {
  readonly group: Group
  readonly openPublisher: () => Promise<Publisher>
}

/**
 * Hands the messages of topics to handlers: what they write, the message's id and the offset are one transaction. What
 * fails waits with its key in the database while other keys go on, or becomes a dead letter. Several processes may run
 * the same consumer. Resolves when the signal aborts and what was begun is done.
 */
export async function runConsumer(pool: ConnectionPool, broker: Broker, options: AnyOptions): Promise<void> {
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  await using letters = new Letters(broker.openPublisher)
  const context = contextOf(pool, options, (messages) => letters.send(messages))
  const again = {
    ...{ signal, first: 200, slowest: 5_000, onRetry: context.trouble },
    passes: (error: Error) => isTransient(error) || asMigrateError(error).retry === 'timed',
  }
  const parts = [
    retry(() => broker.group.run(partitionReader(context, broker.group), signal), again),
    retry(() => drainKeys(context, signal), again),
    retry(() => forget(context, signal), again),
  ]
  try {
    await Promise.all(parts)
  } catch (error) {
    if (!options.signal.aborted) throw error
  } finally {
    stop.abort()
    await Promise.allSettled(parts)
  }
}

/** Opens the publisher when there is a first letter, and anew after a failure. */
class Letters implements AsyncDisposable {
  readonly #open: () => Promise<Publisher>
  #publisher: Promise<Publisher> | null = null

  constructor(open: () => Promise<Publisher>) {
    this.#open = open
  }

  async send(messages: readonly OutboundMessage[]): Promise<void> {
    try {
      this.#publisher ??= this.#open()
      await (await this.#publisher).publish(messages)
    } catch (error) {
      await this[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = this.#publisher
    this.#publisher = null
    await (await opened?.catch(() => null))?.[Symbol.asyncDispose]()
  }
}

const HOUR = 3_600_000

async function forget({ pool, options, consumer }: Context, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    while (!signal.aborted && (await forgetIds(pool, consumer, options.inboxDays ?? 7)) > 0);
    await pause(HOUR, signal).catch(() => undefined)
  }
}
