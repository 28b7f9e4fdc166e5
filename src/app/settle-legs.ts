import { serviceOf } from '../config/service.ts'
import { markSuperseded } from '../control/intents.ts'
import { readProgress } from '../control/progress.ts'
import { endedUnsettled, givePosition, lacksPosition, markSettled, oldestUnsettled } from '../control/unsettled.ts'
import { asMigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import { DEFAULT_LIMITS } from '../router/options.ts'
import { forgetNotedKeys, notedKeys, noteTime } from '../stores/postgres/noted-keys.ts'
import { type App, namesOf } from './open.ts'
import { sourcePosition } from './pipeline.ts'
import { resyncKeys } from './resync-keys.ts'

const LOOK_EVERY = 1_000

/** A router sends a leg at most so long after its intent: it waits no longer for the monolith; milliseconds. */
export const LONGEST_ANSWER = DEFAULT_LIMITS.answerMs + 2_000

/**
 * For a worker: brings second legs that were not answered to their ends. Runs until the signal aborts, never rejects.
 *
 * A revoked leg is superseded once the sync has applied what the monolith had committed at its answer. Where nobody
 * lived to say which position that was, a later one is taken, read when the request has certainly ended.
 *
 * A leg of a service without `idempotent()` cannot be revoked: it may change its rows after the sync has written them.
 * So the sync notes the keys of everything it writes while there is such a leg (its own keys are among them: the leg
 * was open when its rows were held back), and when the leg has certainly ended, by `maxRequestTime`, these rows are read
 * from the monolith and written once more. What was doubled is right again from then on.
 *
 * That cannot promise four things. Until then readers of the service may see what the late leg did. Rows that the leg
 * wrote under other keys than the monolith did are not among the noted: a service that does not keep the monolith's
 * ids is told by ID_NOT_KEPT when it answers, and by `reconcile` and the comparison of a cutover in any case. And a
 * request that runs for longer than `maxRequestTime`, or that a router sends after it was frozen between its last look
 * at the clock and the sending, is not known to be there: only the Idempotency-Key and the epoch stop such a one.
 */
export async function settleLegs(
  app: App,
  name: string,
  onFailure: (error: Error) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await pause(LOOK_EVERY, signal)
      await supersede(app, name)
      if (!serviceOf(app.config, name).idempotent) await settleUnsettled(app, name, signal)
    } catch (error) {
      // the next round tries again; until then the legs stay as they are, and a cutover is refused
      if (!signal.aborted) onFailure(asMigrateError(error))
    }
  }
}

async function supersede(app: App, name: string): Promise<void> {
  if (await lacksPosition(app.control, name, LONGEST_ANSWER)) {
    const position = await sourcePosition(app, name, 'forward')
    await givePosition(app.control, name, LONGEST_ANSWER, position)
  }
  const progress = await readProgress(app.control, name, 'forward')
  if (progress?.applied != null) await markSuperseded(app.control, name, progress.applied)
}

async function settleUnsettled(app: App, name: string, signal: AbortSignal): Promise<void> {
  const maxRequest = serviceOf(app.config, name).maxRequestTime
  const { forward } = namesOf(app.config, name)
  const service = app.service(name)
  const ended = await endedUnsettled(app.control, name, { maxRequest, longestAnswer: LONGEST_ANSWER })
  if (ended.length > 0) {
    // what the sync writes from here on it writes after these legs have ended
    await resyncKeys(app, name, await notedKeys(service, forward), signal)
    await markSettled(app.control, ended)
  }
  // a key noted before the oldest leg was opened is nobody's any more; ages are by each server's own clock
  const at = await noteTime(service)
  const oldest = await oldestUnsettled(app.control, name)
  await forgetNotedKeys(service, forward, { at, seconds: (oldest ?? 0) + 1 })
}
