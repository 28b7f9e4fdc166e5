import type { Relation, Transaction } from '../model/change.ts'
import { type Convergence, converge, isBarrier, type Skipped } from './converge.ts'
import type { Checkpoint } from './ports.ts'

export interface PlanInput {
  readonly checkpoint: Checkpoint
  /** what is to be written now */
  readonly due: readonly Transaction[]
  /** what still waits for its grace */
  readonly held: () => readonly Transaction[]
  readonly skipped: Skipped
  readonly keyColumns: (relation: Relation) => readonly number[]
  /** milliseconds of a monotonic clock */
  readonly now: number
}

/** What a batch asks of the sink. Legs opened more than `legsOlderThan` milliseconds ago are revoked with it. */
export type Plan =
  | { readonly kind: 'none' }
  | { readonly kind: 'exact' }
  | { readonly kind: 'replay'; readonly legsOlderThan: number }
  | { readonly kind: 'converge'; readonly legsOlderThan: number; readonly convergence: Convergence }

/** How to write a batch, by the state of the checkpoint. Pure. */
export function planBatch(input: PlanInput): Plan {
  const { due, held, skipped, keyColumns, now } = input
  const { state, hold, graceMs } = input.checkpoint
  if (state === 'discard' || !due.some(({ size }) => size > 0)) return { kind: 'none' }
  // keys that were left out under a hold that has just ended still have to be made equal
  if (!hold && skipped.size === 0) return { kind: 'exact' }
  const barrier = due.some(({ changes }) => changes.some((change) => isBarrier(change, keyColumns)))
  if (barrier) return { kind: 'replay', legsOlderThan: 0 }
  const convergence = converge(due, held(), keyColumns, skipped, now)
  // a leg that was open when the oldest of these changes came has been open for the whole grace
  return { kind: 'converge', legsOlderThan: convergence.early ? 0 : graceMs, convergence }
}
