import { DEFAULTS } from '../config/defaults.ts'
import { serviceOf } from '../config/service.ts'
import { closeRun, openRun, type Run, type RunKind, unfinishedRun } from '../control/journal.ts'
import { type Lease, takeLease } from '../control/lease.ts'
import { illegal } from '../control/services.ts'
import { cutoverGates, type Gate, rollbackGates } from '../cutover/gates.ts'
import { planCutover, planRollback, type Step } from '../cutover/plan.ts'
import type { MovePorts } from '../cutover/ports.ts'
import { runToEnd } from '../cutover/recover.ts'
import type { StepReport } from '../cutover/run.ts'
import { asMigrateError, MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { Stage } from '../model/stage.ts'
import { contextOf, type Moving, settleInterrupted } from './interrupted.ts'
import { isInstalled } from './installed.ts'
import { movePorts } from './move-ports.ts'
import { type App, installControl, namesOf } from './open.ts'

/** A gate that may come to be met by itself is looked at again for so long, milliseconds. */
const GATE_PATIENCE = 4_000

export interface MoveEvents {
  readonly onStep: (report: StepReport) => void
  readonly onGates: (gates: readonly Gate[]) => void
  /** a run that another process left behind was ended */
  readonly onRecovered: (kind: RunKind, state: 'done' | 'aborted') => void
}

export interface MoveOptions {
  readonly maxWriteOutage?: number
  readonly events: MoveEvents
  readonly signal: AbortSignal
}

export interface MoveResult {
  readonly epoch: number
  readonly steps: readonly StepReport[]
  /** milliseconds from the start of `hold` to the end of the step that lets writes go on */
  readonly outageMs: number
  /** the move was not begun here: an earlier run, found interrupted, was finished */
  readonly finished: boolean
}

/** Moves the write authority: cutover from `dual-write` to `live`, rollback from `live` to `dual-write`. */
export async function moveService(app: App, name: string, kind: RunKind, options: MoveOptions): Promise<MoveResult> {
  serviceOf(app.config, name)
  await installControl(app)
  for (;;) {
    await using lease = await takeLease(app.control, {
      name: namesOf(app.config, name).moveLease,
      signal: options.signal,
    })
    const moving: Moving = {
      ...{ app, name, action: kind, run: lease.epoch },
      maxWriteOutage: options.maxWriteOutage ?? DEFAULTS.writeOutageMs,
      onStep: options.events.onStep,
      onRecovered: options.events.onRecovered,
      signal: AbortSignal.any([options.signal, lease.lost]),
    }
    const left = await settleInterrupted(moving)
    if (left === null) return await beginMove(moving, lease, kind, options)
    if (left.outcome.state === 'done' && left.run.kind === kind) return resultOf(left.run, left.outcome.steps, true)
    // With a token of its own: this one has lifted a fence, and routers take a hold whose fence was lifted for over.
  }
}

async function beginMove(moving: Moving, lease: Lease, kind: RunKind, options: MoveOptions): Promise<MoveResult> {
  const { app, name } = moving
  const ports = await movePorts(app, name, kind, moving.signal)
  requireStage(await ports.stage(), name, kind)
  const gates = await settledGates(ports, name, kind, moving.signal)
  options.events.onGates(gates)
  refuseClosedGates(gates, name, kind)
  const { epoch } = await ports.authority()
  const run = await openRun(app.control, lease, { service: name, kind, epoch })
  const outcome = await runToEnd(await contextOf(moving, run))
  if (outcome.state === 'done') {
    await closeRun(app.control, run, 'done', '')
    return resultOf(run, outcome.steps, false)
  }
  await closeRun(app.control, run, 'aborted', asMigrateError(outcome.error).code)
  throw outcome.error
}

/** The gates as they are now and the steps that would run. Changes nothing. */
export async function planMove(
  app: App,
  name: string,
  kind: RunKind,
  signal: AbortSignal,
): Promise<{ gates: Gate[]; steps: readonly Step[]; interrupted: Run | null }> {
  serviceOf(app.config, name)
  if (!(await isInstalled(app.control, 'service'))) requireStage('off', name, kind)
  const ports = await movePorts(app, name, kind, signal)
  requireStage(await ports.stage(), name, kind)
  return {
    gates: await gatesOf(ports, name, kind),
    steps: kind === 'cutover' ? planCutover(name) : planRollback(name),
    interrupted: await unfinishedRun(app.control, name),
  }
}

function requireStage(stage: Stage, name: string, kind: RunKind): void {
  const [from, to] = kind === 'cutover' ? (['dual-write', 'live'] as const) : (['live', 'dual-write'] as const)
  if (stage !== from) throw illegal(name, stage, to)
}

/** Looks again while all that is closed may open by itself: right after another move, workers take up their streams. */
async function settledGates(ports: MovePorts, name: string, kind: RunKind, signal: AbortSignal): Promise<Gate[]> {
  const until = performance.now() + GATE_PATIENCE
  for (;;) {
    const gates = await gatesOf(ports, name, kind)
    const closed = gates.filter((gate) => !gate.ok)
    if (closed.length === 0 || !closed.every((gate) => gate.mayPass) || performance.now() > until) return gates
    await pause(100, signal)
  }
}

function gatesOf(ports: MovePorts, name: string, kind: RunKind): Promise<Gate[]> {
  return kind === 'cutover' ? cutoverGates(name, ports) : rollbackGates(name, ports)
}

function refuseClosedGates(gates: readonly Gate[], name: string, kind: RunKind): void {
  const closed = gates.filter((gate) => !gate.ok)
  if (closed.length === 0) return
  throw new MigrateError('GATE_FAILED', {
    action: kind,
    service: name,
    failed: closed
      .map((gate) => `${gate.name}: ${gate.measured}, needed ${gate.comparator} ${gate.threshold}`)
      .join('; '),
    remedy: [...new Set(closed.map((gate) => gate.remedy))].join(' '),
  })
}

function resultOf(run: Run, steps: readonly StepReport[], finished: boolean): MoveResult {
  const from = steps.findIndex((step) => step.step === 'hold')
  const to = steps.findIndex((step) => step.step === 'routers')
  const stopped = from < 0 ? [] : steps.slice(from, to + 1)
  return {
    epoch: run.epoch + 1,
    steps,
    outageMs: stopped.reduce((sum, step) => sum + step.milliseconds, 0),
    finished,
  }
}
