import pRetry from 'p-retry'
import { asMigrateError } from './errors.ts'
import { pause } from './model/pause.ts'

export interface RetryOptions {
  readonly signal: AbortSignal
  /** milliseconds before the second try; doubles with jitter up to `slowest` */
  readonly first?: number
  readonly slowest?: number
  /** tries in all; default without end */
  readonly tries?: number
  /** milliseconds after which no further try begins; default without end */
  readonly giveUpAfter?: number
  /** instead of `first` and `slowest`: milliseconds before the next try; null = there is none */
  readonly wait?: (failed: number) => number | null
  /** instead of the error's own directive: may this be tried again? */
  readonly passes?: (error: Error) => boolean
  readonly onRetry?: (error: Error, attempt: number) => void
}

/** The one retry: goes on as long as the error's own directive says `timed`. Rejects with the last error. */
export function retry<T>(run: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal, wait } = options
  return pRetry(run, {
    retries: options.tries === undefined ? Number.POSITIVE_INFINITY : options.tries - 1,
    minTimeout: wait === undefined ? (options.first ?? 200) : 0,
    maxTimeout: options.slowest ?? 5_000,
    maxRetryTime: options.giveUpAfter ?? Number.POSITIVE_INFINITY,
    randomize: true,
    signal,
    async shouldRetry({ error, attemptNumber }) {
      const passes = options.passes ?? ((failed: Error): boolean => asMigrateError(failed).retry === 'timed')
      if (signal.aborted || !passes(error)) return false
      if (wait === undefined) return true
      const milliseconds = wait(attemptNumber)
      if (milliseconds !== null) await pause(milliseconds, signal)
      return milliseconds !== null
    },
    onFailedAttempt: ({ error, attemptNumber }) => options.onRetry?.(error, attemptNumber),
  })
}
