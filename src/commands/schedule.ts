import { Cron } from 'croner'
import { asMigrateError, MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { CommandContext } from './command.ts'

/** setTimeout takes no more than 2^31 ms. */
const LONGEST_PAUSE = 3_600_000

/**
 * Runs again and again at the times of a cron pattern, until the signal. Runs never overlap; times that go by while one
 * is under way are left out. An error of a run is told and the next run comes all the same, unless it is a defect.
 */
export async function runAt(
  pattern: string,
  { signal, output }: CommandContext,
  run: () => Promise<void>,
): Promise<void> {
  const times = parse(pattern)
  for (;;) {
    const next = times.nextRun()
    if (next === null) return
    output.progress({ event: 'next', at: next.toISOString() }, `next run at ${next.toISOString()}`)
    for (let left = next.getTime() - Date.now(); left > 0; left = next.getTime() - Date.now()) {
      await pause(Math.min(left, LONGEST_PAUSE), signal)
    }
    try {
      await run()
    } catch (thrown) {
      signal.throwIfAborted()
      const error = asMigrateError(thrown)
      if (error.code === 'INTERNAL' || error.code === 'USAGE') throw error
      const { code, message, hint } = error
      output.progress({ event: 'failed', code, message, hint }, `${code}  ${message}`)
    }
  }
}

function parse(pattern: string): Cron {
  try {
    return new Cron(pattern)
  } catch (cause) {
    const reason = `"${pattern}" is no cron pattern: ${cause instanceof Error ? cause.message : String(cause)}`
    throw new MigrateError('USAGE', { reason, command: 'migrate reconcile' }, { cause })
  }
}
