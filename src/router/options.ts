import type { PolicySet } from '../model/policy.ts'
import type { RouterControl } from './control.ts'
import type { CounterSnapshot } from './counters.ts'
import type { SecondLeg } from './second-leg.ts'

export interface RouterOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** origin of the monolith, for example http://127.0.0.1:3000 */
  readonly monolith: string
  readonly services: readonly RoutedService[]
  readonly control: RouterControl
  readonly secondLeg: SecondLeg
  /** name of this instance in reports and intents, unique among the live ones */
  readonly instance: string
  readonly clock?: Clock | undefined
  readonly limits?: Partial<RouterLimits> | undefined
  readonly log?: ((line: string) => void) | undefined
  /** aborted = drain and close, as `close()` does */
  readonly signal?: AbortSignal | undefined
}

export interface RoutedService {
  readonly name: string
  /** origin of the service */
  readonly http: string
  readonly routes: readonly RouteOptions[]
}

export interface RouteOptions {
  /** `/users/**` (with everything below), `/users/:id`, `/users/*` (one segment) */
  readonly path: string
  /** where the key of a user is found, the first one present counts: `header:NAME`, `cookie:NAME`, `path:PARAMETER` */
  readonly sticky?: readonly string[] | undefined
  /** dotted path of a new row's id in the JSON answer of a POST; default `id` */
  readonly id?: string | undefined
}

/** Milliseconds since the epoch, never going back. */
export interface Clock {
  now(): number
}

export interface RunningRouter {
  readonly address: { readonly host: string; readonly port: number; readonly url: string }
  /** Stops accepting, finishes what is under way (held writes and second legs too), ends idle connections. */
  close(): Promise<void>
  /** the policy obeyed now; null until the control database was read once */
  policy(): PolicySet | null
  counters(): CounterSnapshot
}

/** Bounds of one router instance; all times in milliseconds. */
export interface RouterLimits {
  /** length of the request target */
  readonly urlBytes: number
  /** time a client has to send its headers */
  readonly clientHeaderMs: number
  /** time a client has to send its whole request */
  readonly clientRequestMs: number
  /** largest body that is buffered, for held writes and second legs */
  readonly bodyBytes: number
  /** all buffered bodies of this instance together */
  readonly bufferedBytes: number
  /** requests under way in this instance; beyond it 503 */
  readonly inFlight: number
  /** connections to one upstream; also the number of reads a service may have under way */
  readonly connections: number
  readonly connectMs: number
  /** time a service has to answer a read before the monolith is asked */
  readonly serviceHeaderMs: number
  /** the total for a read, both tries together */
  readonly readDeadlineMs: number
  /** time an upstream has to answer everything that has no second try */
  readonly answerMs: number
  readonly heldRequests: number
  readonly heldBytes: number
  readonly heldMs: number
  /** keys with an own write that the router remembers one by one */
  readonly marks: number
  /** poll behind the notifications */
  readonly pollMs: number
  /** poll while writes are held */
  readonly holdPollMs: number
  /** time one call to the control database may take */
  readonly controlMs: number
  /** while draining: how long an idle connection may still bring a request */
  readonly drainIdleMs: number
  /** while draining: when connections that are still busy are cut */
  readonly drainMs: number
}

export const DEFAULT_LIMITS: RouterLimits = {
  urlBytes: 8 * 1024,
  clientHeaderMs: 10_000,
  clientRequestMs: 300_000,
  bodyBytes: 1024 * 1024,
  bufferedBytes: 256 * 1024 * 1024,
  inFlight: 2_000,
  connections: 256,
  connectMs: 2_000,
  serviceHeaderMs: 5_000,
  readDeadlineMs: 15_000,
  answerMs: 60_000,
  heldRequests: 1_000,
  heldBytes: 64 * 1024 * 1024,
  heldMs: 10_000,
  marks: 100_000,
  pollMs: 800,
  holdPollMs: 50,
  controlMs: 1_000,
  drainIdleMs: 500,
  drainMs: 30_000,
}

export const SYSTEM_CLOCK: Clock = { now: () => performance.timeOrigin + performance.now() }
