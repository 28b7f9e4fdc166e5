import { Cron } from 'croner'
import { asMigrateError, MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'

/** setTimeout takes no more than 2^31 ms. */
const LONGEST_PAUSE = 3_600_000

export interface Schedule {
  /** minute hour day month weekday; `parseCron` first */
  readonly times: Cron
  readonly signal: AbortSignal
  readonly onNext: (at: Date) => void
  /** a run has failed; the next one comes all the same */
  readonly onFailure: (error: MigrateError) => void
}

/**
 * Runs again and again at the times of a cron pattern, until the signal. Runs never overlap; times that go by while one
 * is under way are left out. An error of a run is told and the next run comes all the same, unless it is a defect.
 */
export async function runAt({ times, signal, onNext, onFailure }: Schedule, run: () => Promise<void>): Promise<void> {
  for (;;) {
    const next = times.nextRun()
    if (next === null) return
    onNext(next)
    for (let left = next.getTime() - Date.now(); left > 0; left = next.getTime() - Date.now()) {
      await pause(Math.min(left, LONGEST_PAUSE), signal)
    }
    try {
      await run()
    } catch (thrown) {
      signal.throwIfAborted()
      const error = asMigrateError(thrown)
      if (error.code === 'INTERNAL' || error.code === 'USAGE') throw error
      onFailure(error)
    }
  }
}

/** Throws USAGE, naming the command. */
export function parseCron(pattern: string, command: string): Cron {
  try {
    return new Cron(pattern)
  } catch (cause) {
    const reason = `"${pattern}" is no cron pattern: ${cause instanceof Error ? cause.message : String(cause)}`
    throw new MigrateError('USAGE', { reason, command: `migrate ${command}` }, { cause })
  }
}
