import type { ServicePolicy } from '../model/policy.ts'
import { STAGE_RULES } from '../model/stage.ts'

/** Where a write of a service goes. */
export type WriteTarget =
  | { readonly to: 'monolith'; readonly leg: boolean; readonly epoch: number }
  | { readonly to: 'service'; readonly epoch: number }
  | { readonly to: 'hold'; readonly why: 'hold' | 'fence' | 'between' | 'laggards' | 'slept' }

/**
 * Decides where a write goes. `settled` = since the authority got this epoch, every router that was heard of was seen to
 * obey the stage that goes with it; before that, another router could still read from the side that lacks this write.
 */
export function writeTarget(policy: ServicePolicy, settled: boolean): WriteTarget {
  const { authority, stage } = policy
  if (isHeld(policy)) return HOLD
  // After a switch the monolith's fence stays shut for good, so it says nothing about writes of the service.
  if (authority.side === 'monolith' && policy.fence === 'closed') return FENCE
  // The run is between its switch and its release.
  if (STAGE_RULES[stage].authority !== authority.side) return BETWEEN
  if (!settled) return LAGGARDS
  if (authority.side === 'service') return { to: 'service', epoch: authority.epoch }
  return { to: 'monolith', leg: stage === 'dual-write' && policy.legs, epoch: authority.epoch }
}

/**
 * A hold ends at its time, or when the fence of its run (or of a newer one) has come and gone without a switch: that run
 * cannot switch any more, whatever has become of its process, and the monolith takes writes.
 */
function isHeld({ hold, authority, fence, fenceRun }: ServicePolicy): boolean {
  if (hold === null || hold.leftMs <= 0) return false
  return !(authority.side === 'monolith' && fence !== 'closed' && fenceRun >= hold.run)
}

const HOLD = { to: 'hold', why: 'hold' } as const
const FENCE = { to: 'hold', why: 'fence' } as const
const BETWEEN = { to: 'hold', why: 'between' } as const
const LAGGARDS = { to: 'hold', why: 'laggards' } as const
