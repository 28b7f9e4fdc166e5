import type { Pool } from 'undici'
import type { BodyBudget } from './body.ts'
import type { Counters } from './counters.ts'
import type { Holds } from './hold.ts'
import type { Loads } from './loads.ts'
import type { Marks } from './marks.ts'
import type { MatchRoute } from './match.ts'
import type { Clock, RouterLimits } from './options.ts'
import type { PolicyFeed } from './policy.ts'
import type { PositionSampler } from './position.ts'
import type { SecondLeg } from './second-leg.ts'
import type { StickySource } from './sticky.ts'
import type { PendingWrite } from './write.ts'

/** What the handling of a request works with; made once by serveRouter. */
export interface RouterContext {
  readonly instance: string
  readonly clock: Clock
  readonly limits: RouterLimits
  readonly counters: Counters
  readonly monolith: Pool
  readonly services: ReadonlyMap<string, Pool>
  readonly match: MatchRoute
  /** the header and cookie keys of all services: a write may concern a service through a path that is not its own */
  readonly allSticky: readonly StickySource[]
  readonly policies: PolicyFeed
  readonly loads: Loads
  readonly holds: Holds<PendingWrite>
  readonly marks: Marks
  readonly positions: PositionSampler
  readonly budget: BodyBudget
  readonly secondLeg: SecondLeg
}
