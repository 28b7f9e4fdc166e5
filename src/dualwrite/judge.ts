import type { LegState } from './send-leg.ts'

export type LegVerdict =
  | 'equal'
  /** another status class */
  | 'different'
  /** the service gave the new row another id */
  | 'id-not-kept'
  /** the sink has taken the key, or the service refuses epoch or age: nothing was applied */
  | 'revoked'

export interface JudgedAnswer {
  readonly status: number
  /** of a new row; null = it names none */
  readonly id: string | null
}

/** What the service's answer to a leg is worth. Pure. */
export function judge(service: JudgedAnswer & { readonly leg: LegState | null }, monolith: JudgedAnswer): LegVerdict {
  if (service.leg === 'revoked' || service.leg === 'refused') return 'revoked'
  if (Math.floor(service.status / 100) !== Math.floor(monolith.status / 100)) return 'different'
  // An answer without an id says nothing about it.
  if (monolith.id !== null && service.id !== null && service.id !== monolith.id) return 'id-not-kept'
  return 'equal'
}
