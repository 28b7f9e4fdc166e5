import { type Paused, readSyncControl, SYNC_CHANNEL, type SyncControl } from '../control/sync-control.ts'
import { MigrateError } from '../errors.ts'
import { DIRECTIONS, type Direction } from '../model/progress.ts'
import { activeStatements } from '../stores/postgres/sessions.ts'
import { Throttle } from '../sync/pace.ts'
import { Waker } from '../sync/waker.ts'
import type { App } from './open.ts'
import type { SlotGuard } from './slot-guard.ts'

/** How often the orders and the load of the monolith are looked at; a notification comes sooner. Milliseconds. */
const LOOK_EVERY = 500

/** The paces of both directions. They obey what `sync ctl` asks and the configuration, as long as this is open. */
export interface SyncOrders extends AsyncDisposable {
  readonly throttles: Record<Direction, Throttle>
}

/** Nothing is applied before the orders are read for the first time. `told` hears of pauses and their end. */
export function followOrders(
  app: App,
  name: string,
  guard: SlotGuard,
  told: (paused: Paused | null) => void,
): SyncOrders {
  const throttles = { forward: new Throttle(), reverse: new Throttle() }
  for (const throttle of Object.values(throttles)) throttle.obey(performance.now(), PAUSED)
  const ending = new AbortController()
  const waker = new Waker()
  const listening = app.control.listen(SYNC_CHANNEL, () => waker.wake())
  const running = (async (): Promise<void> => {
    let paused = false
    while (!ending.signal.aborted) {
      try {
        const control = await readSyncControl(app.control, name)
        await obey(app, control, guard, throttles)
        if ((control.paused !== null) !== paused) told(control.paused)
        paused = control.paused !== null
      } catch (error) {
        // the last orders hold; the lease ends the worker when the control database stays away
        if (!(error instanceof MigrateError)) throw error
      }
      await waker.sleep(LOOK_EVERY, ending.signal)
    }
  })()
  return {
    throttles,
    async [Symbol.asyncDispose]() {
      ending.abort()
      waker.wake()
      await listening[Symbol.asyncDispose]()
      await running
    },
  }
}

const PAUSED = { paused: true, rate: null, sessions: null, hurry: false }

async function obey(
  app: App,
  control: SyncControl,
  guard: SlotGuard,
  throttles: SyncOrders['throttles'],
): Promise<void> {
  const { rate, sessions: limit } = limitsOf(app, control)
  const sessions = limit === null ? null : { limit, active: await activeStatements(app.monolith) }
  for (const direction of DIRECTIONS) {
    const hurry = guard.isFilling(direction)
    throttles[direction].obey(performance.now(), { paused: control.paused !== null, rate, sessions, hurry })
  }
}

/** What is in force: what was asked, else what is configured; null = no limit. */
function limitsOf(app: App, control: SyncControl): { rate: number | null; sessions: number | null } {
  const { rate, monolithSessions } = app.config.throttle
  return {
    rate: inForce(control.rate, rate),
    sessions: inForce(control.sessions, monolithSessions),
  }
}

function inForce(asked: number | null, configured: number | undefined): number | null {
  return asked === 0 ? null : (asked ?? configured ?? null)
}
