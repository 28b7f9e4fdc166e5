import type { RetryPolicy, Step } from './definition.ts'
import type { Direction } from './entry.ts'
import type { Progress } from './state.ts'

/** Tries of a step, of a compensation, and of a retriable step. */
const ATTEMPTS = { execute: 5, compensate: 10, retriable: Number.POSITIVE_INFINITY } as const

/**
 * Milliseconds until a step is tried again after such an error; null = it is not. `progress` with the try that has just
 * failed; `now` is the database's.
 */
export function retryIn(step: Tried, direction: Direction, progress: Progress, { now, error }: Failed): number | null {
  const forever = step.kind === 'retriable' && direction === 'execute'
  const policy = (direction === 'execute' ? step.retry : step.compensationRetry) ?? {}
  const attempts = policy.attempts ?? ATTEMPTS[forever ? 'retriable' : direction]
  if (progress.attempts >= attempts) return null
  if (error instanceof Error && isPermanent(policy, error)) return null
  const wait = backoff(policy, progress.attempts)
  const limit = forever || direction === 'compensate' ? undefined : step.deadline
  return limit !== undefined && now + wait - progress.since > limit ? null : wait
}

type Tried = Pick<Step, 'kind' | 'retry' | 'compensationRetry' | 'deadline'>

interface Failed {
  readonly now: number
  readonly error: unknown
}

/** A policy that throws knows nothing of this error. */
function isPermanent({ permanent }: RetryPolicy, error: Error): boolean {
  try {
    return permanent?.(error) === true
  } catch {
    return false
  }
}

/** Each try is two rows of the journal: what has failed for most of an hour is tried less often. */
const MANY = 100

/** Doubles, with jitter, so that what failed together does not come again together. */
function backoff({ first = 200, ...given }: RetryPolicy, attempts: number): number {
  const longest = given.longest ?? (attempts < MANY ? 30_000 : 300_000)
  const full = Math.min(longest, first * 2 ** Math.max(0, attempts - 1))
  return Math.round(full * (0.5 + Math.random() / 2))
}
