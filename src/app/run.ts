import type { Cron } from 'croner'
import { readStages } from '../control/services.ts'
import { asMigrateError, type MigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import { pause } from '../model/pause.ts'
import { type Stage, STAGE_RULES } from '../model/stage.ts'
import { retry } from '../retry.ts'
import { type App, installControl } from './open.ts'
import type { ServeOptions } from './route.ts'
import { RECONCILE, reconcilePart, ROUTER, routerPart, type RunEvents, syncName, syncPart } from './run-parts.ts'
import { type Part, supervise } from './supervise.ts'

export interface RunOptions {
  /** null = the router runs elsewhere */
  readonly listen: ServeOptions['listen'] | null
  /** when to compare; null = that is done elsewhere */
  readonly reconcile: Cron | null
  readonly alerts: Alerts
  readonly events: RunEvents
  readonly signal: AbortSignal
}

/** A part that somebody has to act for before it can run again. */
export interface Failure {
  readonly part: string
  readonly error: MigrateError
}

/** How often the stages are looked at, milliseconds. */
const LOOK_EVERY = 1_000

/**
 * Everything that a small installation needs, in one process: a sync worker for each service whose stage has a sync, the
 * router, the schedule of comparisons. A part that fails does not touch the others. Ends with the signal, the router
 * first, or when nothing is left that could do its work; returns what failed for good.
 */
export async function runAll(app: App, options: RunOptions): Promise<Failure[]> {
  const { signal, events } = options
  const parts = new Parts(options)
  // two of them so that the workers apply the last writes of a router that drains
  const ofRouter = new AbortController()
  const ofRest = new AbortController()
  try {
    await retry(() => installControl(app), {
      ...{ signal, slowest: 5_000 },
      onRetry: (error) => events.part('control', { state: 'restarting', error: asMigrateError(error) }),
    })
    if (options.listen !== null) parts.start(routerPart(app, options.listen, options), ofRouter.signal)
    if (options.reconcile !== null) parts.start(reconcilePart(app, options.reconcile, options), ofRest.signal)
    await watchStages(app, parts, options, ofRest.signal)
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    ofRouter.abort()
    await parts.ended(ROUTER)
    ofRest.abort()
    await parts.ended()
  }
  return parts.failures
}

/** The parts that were started, by their name. */
class Parts {
  readonly failures: Failure[] = []
  readonly #events: RunEvents
  readonly #running = new Map<string, { readonly done: Promise<unknown>; readonly stop: AbortController }>()

  constructor({ events }: Pick<RunOptions, 'events'>) {
    this.#events = events
  }

  /** Once; a part that has failed stays down until it is stopped. */
  start(part: Part, signal: AbortSignal): void {
    const { name } = part
    if (this.#running.has(name)) return
    const stop = new AbortController()
    const done = supervise(part, {
      signal: AbortSignal.any([signal, stop.signal]),
      onEvent: (event) => this.#events.part(name, event),
    }).then((error) => {
      if (error !== null) this.failures.push({ part: name, error })
    })
    this.#running.set(name, { done, stop })
  }

  async stop(name: string): Promise<void> {
    this.#running.get(name)?.stop.abort()
    await this.ended(name)
    this.#running.delete(name)
    const failed = this.failures.findIndex(({ part }) => part === name)
    if (failed >= 0) this.failures.splice(failed, 1)
  }

  async ended(name?: string): Promise<void> {
    const some = [...this.#running].filter(([part]) => name === undefined || name === part)
    await Promise.all(some.map(([, { done }]) => done))
  }

  names(): string[] {
    return [...this.#running.keys()]
  }

  /** Everything that serves somebody has failed: comparing alone is nothing to stay up for. */
  get isUseless(): boolean {
    const needed = this.names().filter((name) => name !== RECONCILE)
    return needed.length > 0 && needed.every((name) => this.failures.some(({ part }) => part === name))
  }
}

/** Starts and ends sync workers as others move the services; returns when nothing can do its work any more. */
async function watchStages(app: App, parts: Parts, options: RunOptions, signal: AbortSignal): Promise<void> {
  const { events } = options
  const seen = new Map<string, Stage>()
  for (;;) {
    const stages = await readStages(app.control).catch((error: unknown) => {
      // the parts tell that the control database is away
      if (asMigrateError(error).retry !== 'timed') throw error
      return null
    })
    for (const service of stages === null ? [] : Object.keys(app.config.services)) {
      const stage = stages?.get(service) ?? 'off'
      if (seen.get(service) !== stage) events.stage(service, stage)
      seen.set(service, stage)
      const part = syncName(service)
      if (STAGE_RULES[stage].sync !== 'none') parts.start(syncPart(app, service, options), signal)
      else if (parts.names().includes(part)) await parts.stop(part)
    }
    if (parts.isUseless) return
    await pause(LOOK_EVERY, options.signal)
  }
}
