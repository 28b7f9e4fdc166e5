import { asMigrateError, MigrateError } from '../errors.ts'
import { retry } from '../retry.ts'
import { finishCutover, runCutover, undoCutover } from './cutover.ts'
import { finishRollback, runRollback, undoRollback } from './rollback.ts'
import type { RunContext, StepReport } from './run.ts'

export type Outcome =
  | { readonly state: 'done'; readonly steps: readonly StepReport[] }
  | { readonly state: 'aborted'; readonly error: unknown }

/** A server that restarts is back by then; what is left after that is for the next run. Milliseconds. */
const INSIST = 15_000

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
 * switch has happened: then the tail is finished, else everything is put back. Tried again while a database is away;
 * not interrupted by the run's signal, which may be why it is here. Throws MOVE_UNSETTLED when it stays away.
 */
export function settleRun(context: RunContext, error: unknown): Promise<Outcome> {
  const settled = retry(() => settleOnce(context, error), { signal: new AbortController().signal, giveUpAfter: INSIST })
  return settled.catch((cause: unknown) => {
    const { retry: directive, message } = asMigrateError(cause)
    if (directive !== 'timed') throw cause
    throw new MigrateError(
      'MOVE_UNSETTLED',
      { action: context.kind, service: context.service, reason: message },
      { cause },
    )
  })
}

async function settleOnce(context: RunContext, error: unknown): Promise<Outcome> {
  if (await hasSwitched(context)) return finish(context)
  const undo = context.kind === 'cutover' ? undoCutover : undoRollback
  try {
    await undo(context)
  } catch (failure) {
    // a switch whose answer was lost may come to its end only now: the undo is refused then
    if (await hasSwitched(context)) return finish(context)
    throw failure
  }
  return { state: 'aborted', error }
}

async function hasSwitched({ kind, epoch, ports }: RunContext): Promise<boolean> {
  const authority = await ports.authority()
  return authority.side === (kind === 'cutover' ? 'service' : 'monolith') && authority.epoch > epoch
}

async function finish(context: RunContext): Promise<Outcome> {
  const steps = context.kind === 'cutover' ? await finishCutover(context) : await finishRollback(context)
  return { state: 'done', steps }
}
