import { readProgress } from '../control/progress.ts'
import { MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import { emitFence, fencePassed } from '../stores/postgres/pass-fence.ts'
import { type App, namesOf } from './open.ts'

/** Without a word from the worker for so long, seconds, there is none. */
const SILENCE = 10

/**
 * Resolves once what the monolith has committed before the call is durable in the service. Throws WORKER_MISSING where
 * no sync works on it, RESYNC_REFUSED where the service is not copied from the monolith now.
 */
export async function caughtUp(app: App, name: string, signal: AbortSignal): Promise<void> {
  const fence = await emitFence(app.monolith, name)
  for (;;) {
    const passed = await fencePassed(app.service(name), namesOf(app.config, name).forward, fence)
    if (passed === 'passed') return
    if (passed === 'moved') throw new MigrateError('RESYNC_REFUSED', { service: name })
    const progress = await readProgress(app.control, name, 'forward')
    if (progress === null || progress.phase !== 'streaming' || progress.age > SILENCE) {
      throw new MigrateError('WORKER_MISSING', { service: name })
    }
    await pause(50, signal)
  }
}
