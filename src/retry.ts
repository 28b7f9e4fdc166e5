import pRetry from 'p-retry'
import { asMigrateError } from './errors.ts'

export interface RetryOptions {
  readonly signal: AbortSignal
  /** milliseconds before the second try; doubles with jitter up to `slowest` */
  readonly first?: number
  readonly slowest?: number
  /** tries in all; default without end */
  readonly tries?: number
  /** milliseconds after which no further try begins; default without end */
  readonly giveUpAfter?: number
  readonly onRetry?: (error: Error, attempt: number) => void
}

/** The one retry: goes on as long as the error's own directive says `timed`. Rejects with the last error. */
export function retry<T>(run: () => Promise<T>, options: RetryOptions): Promise<T> {
  return pRetry(run, {
    retries: options.tries === undefined ? Number.POSITIVE_INFINITY : options.tries - 1,
    minTimeout: options.first ?? 200,
    maxTimeout: options.slowest ?? 5_000,
    maxRetryTime: options.giveUpAfter ?? Number.POSITIVE_INFINITY,
    randomize: true,
    signal: options.signal,
    shouldRetry: ({ error }) => !options.signal.aborted && asMigrateError(error).retry === 'timed',
    onFailedAttempt: ({ error, attemptNumber }) => options.onRetry?.(error, attemptNumber),
  })
}
