import { asMigrateError, MigrateError } from '../errors.ts'
import type { Lsn } from '../model/lsn.ts'
import { pause } from '../model/pause.ts'
import { within } from '../model/within.ts'
import type { Direction } from '../model/progress.ts'
import { STAGE_RULES } from '../model/stage.ts'
import { readProgress } from '../control/progress.ts'
import { isMoving, missingForHealth, nothingMoves } from './health.ts'
import type { App } from './open.ts'
import { sourcePosition } from './pipeline.ts'
import { readStatus, type StatusSnapshot } from './status.ts'

/**
 * caught-up: what the authority of each service had committed when the waiting began is durable in the copy, and its worker
 * is alive. healthy: see `missingForHealth`.
 */
export const WAITS = ['caught-up', 'healthy'] as const
export type Wait = (typeof WAITS)[number]

const LOOK_EVERY = 250

/** Returns the status in which it was so. Throws WAIT_TIMEOUT, naming what was missing. */
export async function waitUntil(
  app: App,
  what: Wait,
  options: {
    /** one service; null = all that are between `off` and `complete` */
    readonly only: string | null
    /** milliseconds */
    readonly timeout: number
    readonly signal: AbortSignal
    readonly onMissing: (missing: readonly string[]) => void
  },
): Promise<StatusSnapshot> {
  const { only, timeout, signal, onMissing } = options
  const deadline = performance.now() + timeout
  const marks = new Map<string, Mark>()
  let told = ''
  for (;;) {
    signal.throwIfAborted()
    const { snapshot, missing } = await within(
      look(app, what, only, marks),
      Math.max(1, deadline - performance.now()),
    ).catch((thrown: unknown) => {
      if (thrown instanceof MigrateError) throw thrown
      // a server that hangs must not make this wait for longer than it was told
      return { snapshot: null, missing: [told === '' ? 'a database does not answer' : told] }
    })
    if (snapshot !== null && missing.length === 0) return snapshot
    if (missing.join('; ') !== told) onMissing(missing)
    told = missing.join('; ')
    if (performance.now() > deadline) {
      const context = { what: what.replace('-', ' '), time: `${timeout / 1_000} s`, missing: missing.join('; ') }
      throw new MigrateError('WAIT_TIMEOUT', context)
    }
    await pause(LOOK_EVERY, signal)
  }
}

interface Mark {
  readonly direction: Direction
  readonly position: Lsn
}

async function look(app: App, what: Wait, only: string | null, marks: Map<string, Mark>) {
  try {
    const snapshot = await readStatus(app, only)
    const missing = what === 'healthy' ? missingForHealth(snapshot, only) : await behind(app, snapshot, only, marks)
    return { snapshot, missing }
  } catch (thrown) {
    const error = asMigrateError(thrown)
    // a server that is about to come up is one of the things that one waits for
    if (error.retry !== 'timed') throw error
    return { snapshot: null, missing: [error.message] }
  }
}

/** The services whose copies lack something that was committed before their mark, which is set at the first look. */
async function behind(app: App, snapshot: StatusSnapshot, only: string | null, marks: Map<string, Mark>) {
  const moving = snapshot.services.filter(isMoving)
  if (moving.length === 0) return [nothingMoves(snapshot, only)]
  const missing: string[] = []
  for (const { service, stage, sync, paused } of moving) {
    const direction = STAGE_RULES[stage].authority === 'service' ? 'reverse' : 'forward'
    let mark = marks.get(service)
    if (mark?.direction !== direction) {
      mark = { direction, position: await sourcePosition(app, service, direction) }
      marks.set(service, mark)
    }
    const applied = (await readProgress(app.control, service, direction))?.applied ?? null
    const alive = sync.some((pipeline) => pipeline.direction === direction && pipeline.alive)
    if (!alive) missing.push(`${service}: no sync worker is alive`)
    else if (paused !== null) missing.push(`${service}: its sync is paused by ${paused.by} since ${paused.since}`)
    else if (applied === null) missing.push(`${service}: its worker has not yet said where it stands`)
    else if (applied < mark.position) missing.push(`${service}: ${mark.position - applied} bytes of the log behind`)
  }
  return missing
}
