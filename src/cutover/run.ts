import { asMigrateError, MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import { ROUTER_SILENCE, ROUTERS_OBEY } from './limits.ts'
import type { Journal, MovePorts, RouterReading } from './ports.ts'
import type { Step } from './plan.ts'

/** What the steps of one run share. */
export interface RunContext {
  readonly service: string
  readonly kind: 'cutover' | 'rollback'
  /** fencing token of the run's lease */
  readonly run: number
  /** epoch of the authority row before the switch */
  readonly epoch: number
  readonly ports: MovePorts
  readonly journal: Journal
  /** aborted when the lease is lost or the user interrupts; obeyed before the switch only */
  readonly signal: AbortSignal
  /** milliseconds that writes may be stopped */
  readonly maxWriteOutage: number
  readonly onStep: (report: StepReport) => void
  /** a place where a test ends or freezes this process */
  readonly failpoint: (name: string) => Promise<void>
}

export interface StepReport {
  readonly step: string
  readonly state: 'begin' | 'end' | 'failed'
  readonly text: string
  readonly milliseconds: number
  readonly data: object
}

export type Actions<S extends Step> = Record<S['name'], () => Promise<object>>

/** Runs the steps in order, each journalled. An error leaves the step's record open and is thrown on. */
export async function runSteps<S extends Step>(steps: readonly S[], actions: Actions<S>, context: RunContext) {
  const reports: StepReport[] = []
  for (const step of steps) {
    if (!step.afterSwitch) context.signal.throwIfAborted()
    await context.failpoint(`${context.kind}.${step.name}.before`)
    await context.journal.begin(step.name)
    const started = performance.now()
    const report = (state: StepReport['state'], data: object): StepReport => ({
      step: step.name,
      state,
      text: step.text,
      milliseconds: Math.round(performance.now() - started),
      data,
    })
    context.onStep(report('begin', {}))
    try {
      const data = await actions[step.name as S['name']]()
      const done = report('end', data)
      await context.journal.end(step.name, data)
      reports.push(done)
      context.onStep(done)
    } catch (error) {
      context.onStep(report('failed', { code: asMigrateError(error).code }))
      throw error
    }
    await context.failpoint(`${context.kind}.${step.name}.after`)
  }
  return reports
}

/** Looks until `check` gives something, every few milliseconds. Throws STEP_TIMEOUT at the deadline. */
export async function waitFor<T>(
  context: RunContext,
  step: string,
  milliseconds: number,
  check: () => Promise<T | null>,
  { every = 10, missing = () => '' }: { every?: number; missing?: () => string } = {},
): Promise<T> {
  const started = performance.now()
  for (;;) {
    const found = await check()
    if (found !== null) return found
    if (performance.now() - started > milliseconds) {
      const text = missing()
      throw stepTimeout(context, step, milliseconds, text === '' ? '' : ` (waiting for ${text})`)
    }
    await pause(every, context.signal)
  }
}

export function stepTimeout(
  { service, kind }: RunContext,
  step: string,
  milliseconds: number,
  waiting = '',
): MigrateError {
  return new MigrateError('STEP_TIMEOUT', {
    ...{ action: kind, service, step, waiting },
    milliseconds: Math.round(milliseconds),
  })
}

/** Every live router obeys this version and has nothing of the service under way. */
export async function routersIdle(context: RunContext, step: string, version: number, milliseconds: number) {
  let busy: readonly RouterReading[] = []
  const idle = async () => {
    const routers = await context.ports.routers()
    busy = routers.filter((router) => router.version < version || router.writes + router.legs > 0)
    return busy.length === 0 ? { routers: routers.length } : null
  }
  return waitFor(context, step, milliseconds, idle, {
    missing: () => busy.map((router) => routerText(router, version)).join(', '),
  })
}

function routerText({ instance, age, version: at, writes, legs }: RouterReading, version: number): string {
  if (at >= version) return `router ${instance}: ${writes} writes and ${legs} legs under way`
  return `router ${instance}: at version ${at} of ${version}, heard of ${age.toFixed(1)} s ago`
}

/**
 * Every router that was heard of a moment ago obeys this version. Used after the switch, where nothing interrupts a run
 * any more and nothing can be put back: a router that does not say so is named in the report.
 */
export async function routersObey(context: RunContext, version: number) {
  const started = performance.now()
  for (;;) {
    const routers = await context.ports.routers()
    const lagging = routers.filter((router) => router.version < version)
    const behind = lagging.length === 0 ? {} : { behind: lagging.map((router) => router.instance) }
    // the others let writes go without those that are silent
    const done = lagging.every((router) => router.age > ROUTER_SILENCE)
    if (done || performance.now() - started > ROUTERS_OBEY) return { routers: routers.length, ...behind }
    await pause(10, new AbortController().signal)
  }
}
