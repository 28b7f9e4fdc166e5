import { failpoints } from '../config/failpoint.ts'
import { beginStep, closeRun, endStep, type Run, type RunKind, unfinishedRun } from '../control/journal.ts'
import { type Outcome, settleRun } from '../cutover/recover.ts'
import type { RunContext, StepReport } from '../cutover/run.ts'
import { MigrateError } from '../errors.ts'
import { movePorts } from './move-ports.ts'
import type { App } from './open.ts'

/** What runs of one service share while this process holds the lease of its moves. */
export interface Moving {
  readonly app: App
  readonly name: string
  /** what the audit rows say */
  readonly action: string
  /** fencing token of the lease */
  readonly run: number
  readonly maxWriteOutage: number
  readonly onStep: (report: StepReport) => void
  /** a run that another process left behind was ended */
  readonly onRecovered: (kind: RunKind, state: Outcome['state']) => void
  readonly signal: AbortSignal
}

/**
 * Ends the run that another process has left behind, if there is one: what had switched is finished, the rest is put
 * back. Nothing else may move the service before. Null = there was none.
 */
export async function settleInterrupted(moving: Moving): Promise<{ run: Run; outcome: Outcome } | null> {
  const { app, name } = moving
  const run = await unfinishedRun(app.control, name)
  if (run === null) return null
  const context = await contextOf(moving, run)
  const outcome = await settleRun(context, new MigrateError('TAKEN_OVER', { what: `the ${run.kind} of ${name}` }))
  await closeRun(app.control, run.id, outcome.state, 'ended by a later run')
  moving.onRecovered(run.kind, outcome.state)
  return { run, outcome }
}

/** A journalled run under the lease that is held now, whoever began it. */
export async function contextOf(moving: Moving, run: Run): Promise<RunContext> {
  const { app, name, action, signal, maxWriteOutage, onStep } = moving
  return {
    service: name,
    kind: run.kind,
    run: moving.run,
    epoch: run.epoch,
    ports: await movePorts(app, name, action, signal),
    journal: {
      begin: (step) => beginStep(app.control, run.id, step),
      end: (step, data) => endStep(app.control, run.id, step, data),
    },
    signal,
    maxWriteOutage,
    onStep,
    failpoint: failpoints(),
  }
}
