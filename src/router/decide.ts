import type { Lsn } from '../model/lsn.ts'
import type { ServicePolicy } from '../model/policy.ts'
import { STAGE_RULES, type Side } from '../model/stage.ts'
import { inside } from './bucket.ts'
import { type WriteTarget, writeTarget } from './write-target.ts'

/** What the decision about one request depends on besides the policy. */
export interface RequestFacts {
  readonly method: string
  /** bucket of the sticky key; null = the request has none */
  readonly bucket: number | null
  /** newest own write of the user or entity: its WAL position, `pending` while that is not known */
  readonly ownWrite: Lsn | 'pending' | null
  /** the service has as many reads under way as it may have */
  readonly busy: boolean
  /** every live router was seen to obey the present epoch; see writeTarget */
  readonly settled: boolean
}

export type ReadReason = 'no-policy' | 'authority' | 'stage' | 'no-key' | 'percent' | 'own-write' | 'busy'

export type Decision =
  | {
      readonly kind: 'read'
      readonly side: Side
      readonly reason: ReadReason
      /** may the monolith be asked when the service fails */
      readonly fallback: boolean
    }
  | { readonly kind: 'write'; readonly target: WriteTarget }
  /** nobody has told this router who has the authority */
  | { readonly kind: 'refuse'; readonly reason: 'no-policy' }

/** Decides where a request of a service goes; pure. */
export function decide(policy: ServicePolicy | null, facts: RequestFacts): Decision {
  if (isSafe(facts.method)) return policy === null ? NO_POLICY : decideRead(policy, facts)
  if (policy === null) return { kind: 'refuse', reason: 'no-policy' }
  return { kind: 'write', target: writeTarget(policy, facts.settled) }
}

/** Safe methods only are split and fallen back. */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}

function decideRead(policy: ServicePolicy, { bucket, ownWrite, busy }: RequestFacts): Decision {
  const { reads: rule, authority } = STAGE_RULES[policy.stage]
  // A switch that the stage does not say yet (its run has stopped there, or control is away): the other side falls behind.
  const { side } = policy.authority
  if (side !== authority) return { kind: 'read', side, reason: 'authority', fallback: false }
  // In `live` the monolith may be behind the service: an old answer would be worse than none.
  if (rule === 'service') return { kind: 'read', side: 'service', reason: 'stage', fallback: false }
  if (rule === 'monolith') return STAGE
  if (bucket === null) return NO_KEY
  if (!inside(bucket, policy.percent)) return PERCENT
  if (ownWrite !== null && !isApplied(ownWrite, policy.applied)) return OWN_WRITE
  if (busy) return BUSY
  return { kind: 'read', side: 'service', reason: 'percent', fallback: true }
}

function isApplied(ownWrite: Lsn | 'pending', applied: Lsn | null): boolean {
  return ownWrite !== 'pending' && applied !== null && ownWrite <= applied
}

function monolith(reason: ReadReason): Decision {
  return { kind: 'read', side: 'monolith', reason, fallback: false }
}

const NO_POLICY = monolith('no-policy')
const STAGE = monolith('stage')
const NO_KEY = monolith('no-key')
const PERCENT = monolith('percent')
const OWN_WRITE = monolith('own-write')
const BUSY = monolith('busy')
