import { DEFAULTS } from '../config/defaults.ts'
import { failpoints } from '../config/failpoint.ts'
import { adoptRun, beginStep, closeRun, endStep, type Run, type RunKind, unfinishedRun } from '../control/journal.ts'
import { takeLease } from '../control/lease.ts'
import { type Outcome, settleRun } from '../cutover/recover.ts'
import type { RunContext, StepReport } from '../cutover/run.ts'
import { asMigrateError, EXIT, MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import { movePorts } from './move-ports.ts'
import { type App, namesOf } from './open.ts'

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
  const left = await unfinishedRun(app.control, name)
  if (left === null) return null
  const run = await adoptRun(app.control, left, moving.run)
  const context = await contextOf(moving, run)
  const outcome = await settleRun(context, new MigrateError('TAKEN_OVER', { what: `the ${run.kind} of ${name}` }))
  await closeRun(app.control, run, outcome.state, 'ended by a later run')
  moving.onRecovered(run.kind, outcome.state)
  return { run, outcome }
}

/** So long after the end of its lease nobody has come back for a run, seconds. */
const ABANDONED = 2
const LOOK_EVERY = 1_000

/**
 * For a worker: ends runs whose process died and that nobody runs again, so that a rollback that died behind the closed
 * gate costs a lease of refused writes and not a night of them. Runs until the signal aborts, never rejects.
 */
export async function settleAbandoned(
  app: App,
  name: string,
  onFailure: (error: Error) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await pause(LOOK_EVERY, signal)
      if (await isAbandoned(app, name)) await settleAsWorker(app, name, signal)
    } catch (error) {
      // the next round tries again; somebody who came first is what we want
      if (!signal.aborted && asMigrateError(error).exit !== EXIT.locked) onFailure(asMigrateError(error))
    }
  }
}

async function settleAsWorker(app: App, name: string, signal: AbortSignal): Promise<void> {
  await using lease = await takeLease(app.control, { name: namesOf(app.config, name).moveLease, patience: 0, signal })
  await settleInterrupted({
    ...{ app, name, action: 'sync', run: lease.epoch, maxWriteOutage: DEFAULTS.writeOutageMs },
    onStep: () => undefined,
    onRecovered: () => undefined,
    signal: AbortSignal.any([signal, lease.lost]),
  })
}

async function isAbandoned(app: App, name: string): Promise<boolean> {
  const { rowCount } = await app.control.query(
    `select 1 from migrate.run r join migrate.lease l on l.name = $2
     where r.service = $1 and r.state = 'running' and l.expires_at < clock_timestamp() - $3 * interval '1 second'`,
    [name, namesOf(app.config, name).moveLease, ABANDONED],
  )
  return rowCount > 0
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
      begin: (step) => beginStep(app.control, run, step),
      end: (step, data) => endStep(app.control, run, step, data),
    },
    signal,
    maxWriteOutage,
    onStep,
    failpoint: failpoints(),
  }
}
