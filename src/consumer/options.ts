import type { AnyEvent, EventDefinition, EventDefinitions } from '../events/define.ts'
import type { TransactionClient } from '../model/service-database.ts'
import type { Verdict } from './classify.ts'

/** A message as a handler gets it. */
export interface Message<Event extends AnyEvent = AnyEvent> {
  readonly type: Event['type']
  /** the payload, checked by the schema of its type */
  readonly data: Event['data']
  /** header "id"; null when there is none */
  readonly id: string | null
  readonly key: string | null
  /** as text; of several values of one name the last */
  readonly headers: Readonly<Record<string, string>>
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly time: Date
}

/** The messages that these definitions describe. */
export type MessageOf<Definitions extends EventDefinitions> = {
  [Type in keyof Definitions & string]: MessageOfType<Definitions, Type>
}[keyof Definitions & string]

type MessageOfType<Definitions extends EventDefinitions, Type extends keyof Definitions & string> = Message<{
  type: Type
  data: Definitions[Type] extends EventDefinition<infer Data> ? Data : never
}>

/** One handler for each type that matters here; messages of other types are passed over. */
export type Handlers<Definitions extends EventDefinitions> = {
  readonly [Type in keyof Definitions & string]?: (
    tx: TransactionClient,
    message: MessageOfType<Definitions, Type>,
  ) => Promise<void>
}

/** How messages are handled: one by one, or many at a time. */
export type Handling<Definitions extends EventDefinitions> =
  | {
      /**
       * What a handler writes through `tx` is committed together with the offset, so exactly once; anything else that it
       * does may happen again.
       */
      readonly handlers: Handlers<Definitions>
      readonly handleBatch?: undefined
    }
  | {
      /**
       * The same for many messages, in order. When it throws, it gets halves of them, down to single ones, so that only
       * the message that fails is held back.
       */
      readonly handleBatch: (tx: TransactionClient, messages: MessageOf<Definitions>[]) => Promise<void>
      readonly handlers?: undefined
    }

export type ConsumerOptions<Definitions extends EventDefinitions> = Handling<Definitions> & {
  /** of the consumer, and of its group in Kafka: a service that reads a topic for two purposes has two consumers */
  readonly name: string
  readonly topics: readonly string[]
  /** payloads by type, as the event store has them */
  readonly events: Definitions
  readonly signal: AbortSignal
  /** Is it worth trying again? Default: `classify`. */
  readonly classify?: (error: Error) => Verdict
  /** where a partition begins of which nothing is known yet; default beginning */
  readonly from?: 'beginning' | 'end'
  /** records of one transaction at most; default 500 */
  readonly batch?: number
  /** partitions that are handled at a time, each with a connection of the pool; default 4 */
  readonly concurrency?: number
  /** tries in place, before the key is parked; default 3 */
  readonly inlineTries?: number
  /** tries in all, before a transient error makes a dead letter; default 100, about an hour and a half */
  readonly tries?: number
  /** wait of a parked key before its next try, milliseconds: the first one, doubled each time up to the longest one */
  readonly backoff?: { readonly first: number; readonly longest: number }
  /** when so many keys fail and nothing succeeds, it is an outage: the partition pauses, nothing is parked; default 20 */
  readonly outageKeys?: number
  /** keys of this consumer that may be parked; above it the partition pauses; default 1,000 */
  readonly maxParkedKeys?: number
  /**
   * After a dead letter: `block-key` (default) keeps later records of its key waiting until somebody retries or discards
   * the letter, so that no handler sees a gap; `skip` goes on with them.
   */
  readonly afterDeadLetter?: 'block-key' | 'skip'
  /** default: the topic with `-dlt`, as Spring names it since 3.3 */
  readonly deadLetterTopic?: (topic: string) => string
  /** how long ids of messages are remembered, days: longer than a message may come again; default 7 */
  readonly inboxDays?: number
  /**
   * A handler that sends nothing through `tx` for so long has failed, milliseconds; default 30,000. A process that sleeps
   * keeps others from its partitions for no longer.
   */
  readonly stallTimeout?: number
  /** what the consumer waits out: an outage, a broker that is away, an offset that the log does not have */
  readonly onTrouble?: (error: Error) => void
  readonly onDeadLetter?: (letter: { readonly topic: string; readonly offset: bigint; readonly error: Error }) => void
  /**
   * For tests of crashes: `consumer.before-commit`, `consumer.after-commit`, `consumer.dead-letter-published`,
   * `consumer.parked`, `consumer.drained`.
   */
  readonly failpoint?: (name: string) => Promise<void>
}
