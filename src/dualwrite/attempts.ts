import type { Pool } from 'undici'
import { MigrateError } from '../errors.ts'
import { retry } from '../retry.ts'
import { nextAttempt } from './next-attempt.ts'
import { type LegAnswer, type LegRequest, sendLeg } from './send-leg.ts'

export interface LegTries {
  readonly service: string
  readonly pool: Pool
  readonly request: Omit<LegRequest, 'milliseconds'>
  /** by the clock */
  readonly deadline: number
  /** under so many milliseconds nothing is begun */
  readonly least: number
  readonly clock: { now(): number }
  /** after each failure but the last */
  readonly onFailed: (why: string, attempts: number) => void
}

export type LegEnd = LegAnswer & { readonly attempts: number }

/**
 * Sends a leg until it is answered or no further try could end before its deadline; always with the same
 * Idempotency-Key, so that `idempotent()` carries it out once, however many of the requests arrive. A service without
 * `idempotent()` gets a second request only when the first one surely never left. Null = too late for any. Never
 * rejects.
 */
export async function sendUntilAnswered(tries: LegTries): Promise<LegEnd | null> {
  const { service, pool, request, deadline, least, clock, onFailed } = tries
  const next = (failed: number) => nextAttempt({ left: deadline - clock.now(), failed, least, random: Math.random() })
  let attempt = next(0)
  if (attempt === null) return null
  let attempts = 0
  let answer: LegAnswer | null = null
  const wait = (failed: number): number | null => {
    attempt = next(failed)
    return attempt?.wait ?? null
  }
  const run = async (): Promise<void> => {
    attempts++
    answer = await sendLeg(pool, { ...request, milliseconds: attempt?.limit ?? least })
    if (answer.kind === 'answered') return
    const again = answer.passing && !(request.plain && answer.sent)
    throw new MigrateError(again ? 'LEG_UNANSWERED' : 'LEG_NOT_TAKEN', { service, reason: answer.why })
  }
  const onRetry = (error: Error, failed: number): void =>
    onFailed(String((error as MigrateError).context['reason']), failed)
  await retry(run, { wait, onRetry, signal: FOREVER }).catch((error: unknown) => {
    // What went wrong with the last try is in its answer.
    if (answer?.kind !== 'failed') throw error
  })
  return answer === null ? null : { ...(answer as LegAnswer), attempts }
}

/** The deadline ends it. */
const FOREVER = new AbortController().signal
