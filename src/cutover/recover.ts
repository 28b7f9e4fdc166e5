import { finishCutover, runCutover, undoCutover } from './cutover.ts'
import { finishRollback, runRollback, undoRollback } from './rollback.ts'
import type { RunContext, StepReport } from './run.ts'

export type Outcome =
  | { readonly state: 'done'; readonly steps: readonly StepReport[] }
  | { readonly state: 'aborted'; readonly error: unknown }

/** Runs to the end, or puts everything back: after it there is exactly one writer. */
export async function runToEnd(context: RunContext): Promise<Outcome> {
  const begin = context.kind === 'cutover' ? runCutover : runRollback
  try {
    return { state: 'done', steps: await begin(context) }
  } catch (error) {
    return settleRun(context, error)
  }
}

/**
 * Ends a run that stopped somewhere, its own process's or a dead one's. The authority row alone says whether its
 * switch has happened: then the tail is finished, else everything is put back.
 */
export async function settleRun(context: RunContext, error: unknown): Promise<Outcome> {
  const authority = await context.ports.authority()
  const target = context.kind === 'cutover' ? 'service' : 'monolith'
  const switched = authority.side === target && authority.epoch > context.epoch
  if (switched) {
    const finish = context.kind === 'cutover' ? finishCutover : finishRollback
    return { state: 'done', steps: await finish(context) }
  }
  const undo = context.kind === 'cutover' ? undoCutover : undoRollback
  await undo(context)
  return { state: 'aborted', error }
}
