import type { ConnectionPool } from '../model/service-database.ts'
import type { OutboundMessage } from '../outbox/ports.ts'
import { classify, type Verdict } from './classify.ts'
import type { AnyOptions } from './attempts.ts'
import { type Failed, letterMessage } from './dead-letter.ts'

/** What all parts of one consumer share: its options with their defaults, and the way to the broker. */
export interface Context {
  readonly pool: ConnectionPool
  readonly options: AnyOptions
  readonly consumer: string
  readonly batch: number
  readonly inlineTries: number
  readonly tries: number
  readonly outageKeys: number
  readonly maxParkedKeys: number
  readonly blocks: boolean
  readonly stall: number
  readonly classify: (error: Error) => Verdict
  /** milliseconds before the next try, after so many */
  readonly wait: (attempts: number) => number
  readonly failpoint: (name: string) => Promise<void>
  readonly trouble: (error: Error) => void
  /** Puts letters into their topics. Throws BROKER_UNAVAILABLE. */
  readonly publish: (letters: readonly Failed[]) => Promise<void>
}

export function contextOf(
  pool: ConnectionPool,
  options: AnyOptions,
  send: (messages: readonly OutboundMessage[]) => Promise<void>,
): Context {
  const { name, deadLetterTopic = (topic) => `${topic}-dlt`, backoff = { first: 1_000, longest: 60_000 } } = options
  return {
    ...{ pool, options, consumer: name, classify: options.classify ?? classify, batch: options.batch ?? 500 },
    ...{ inlineTries: options.inlineTries ?? 3, tries: options.tries ?? 100, outageKeys: options.outageKeys ?? 20 },
    ...{
      stall: options.stallTimeout ?? 30_000,
      maxParkedKeys: options.maxParkedKeys ?? 1_000,
      blocks: options.afterDeadLetter !== 'skip',
    },
    // half to whole, so that keys which were parked together do not come back together
    wait: (attempts) =>
      Math.min(backoff.longest, backoff.first * 2 ** Math.min(attempts, 30)) * (0.5 + Math.random() / 2),
    failpoint: options.failpoint ?? (async () => undefined),
    trouble: (error) => options.onTrouble?.(error),
    publish: (letters) =>
      send(
        letters.map((letter) =>
          letterMessage(letter, { topic: deadLetterTopic(letter.item.record.topic), group: name }),
        ),
      ),
  }
}
