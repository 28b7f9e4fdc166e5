import { type AnySaga, placed, type Step } from './definition.ts'
import type { Direction, Failure, Fault } from './entry.ts'
import { type Progress, type SagaState, stepOf } from './state.ts'

/** What a saga does next; all of it follows from the journal, the time, and the calls under way in this process. */
export type Decision =
  /** ask for these steps, the calls and commands at once */
  | { readonly do: 'ask'; readonly steps: readonly Step[]; readonly direction: Direction }
  /** a call has lost its caller, a command got no reply in time: what became of it is not known */
  | { readonly do: 'doubt'; readonly step: Step; readonly direction: Direction; readonly error: Fault }
  | { readonly do: 'compensate'; readonly failure: Failure }
  | { readonly do: 'stuck'; readonly failure: Failure; readonly direction: Direction }
  | { readonly do: 'end'; readonly status: 'DONE' | 'COMPENSATED' }
  /** until then, milliseconds of the database's clock; null = until something happens to it */
  | { readonly do: 'wait'; readonly until: number | null; readonly for: 'reply' | 'retry' | null }

export interface Facts {
  /** of the database, milliseconds since 1970 */
  readonly now: number
  readonly deadline: number | null
  /** steps whose calls are under way here */
  readonly underWay: ReadonlySet<string>
}

export const DEFAULT_TIMEOUT = 30_000

export function decide(definition: AnySaga, state: SagaState, facts: Facts): Decision {
  if (state.status === 'RUNNING') return forwards(definition, state, facts)
  if (state.status === 'COMPENSATING') return backwards(definition, state, facts)
  return { do: 'wait', until: null, for: null }
}

function forwards(definition: AnySaga, state: SagaState, facts: Facts): Decision {
  const group = definition.groups.find(({ steps }) => steps.some(({ name }) => execution(state, name).state !== 'done'))
  const { cancelled } = state
  // an operator was told that it goes back, and its last step was done meanwhile
  if (group === undefined && cancelled !== null && !isPastPivot(definition, state)) {
    return { do: 'compensate', failure: cancelled }
  }
  if (group === undefined) return { do: 'end', status: 'DONE' }
  const { underWay } = facts
  const end = isPastPivot(definition, state) ? null : endOf(state, facts)
  const failed = group.steps.find(({ name }) => ['refused', 'given-up'].includes(execution(state, name).state))
  // what is under way is heard first: it decides what has to be taken back
  if ((end !== null || failed !== undefined) && underWay.size > 0) return { do: 'wait', until: null, for: null }
  if (failed !== undefined) return failing(failed, execution(state, failed.name))
  if (end !== null) return { do: 'compensate', failure: end }
  const deadline = isPastPivot(definition, state) ? null : facts.deadline
  return asking(group.steps, { state, facts, direction: 'execute', most: group.concurrency, deadline })
}

function execution(state: SagaState, step: string): Progress {
  return stepOf(state, step).execute
}

/** After it a saga is not taken back: something that has no compensation may have happened. */
export function isPastPivot(definition: AnySaga, state: SagaState): boolean {
  return placed(definition).some(({ step: { name, kind } }) => {
    const { state: progress, doubtful } = execution(state, name)
    if (kind === 'compensable') return false
    // an operator lets it be tried again
    if (progress === 'none') return doubtful
    if (kind === 'retriable') return true
    // the last try was not sent or was rolled back, but one before it may have happened
    return progress === 'failed' ? doubtful : progress !== 'refused'
  })
}

function endOf({ cancelled }: SagaState, { now, deadline }: Facts): Failure | null {
  if (cancelled !== null) return cancelled
  if (deadline === null || now < deadline) return null
  return { step: null, code: 'DEADLINE', message: 'the saga did not come to its pivot before its deadline' }
}

function failing({ name, kind }: Step, { state, error }: Progress): Decision {
  const failure = { step: name, ...(error ?? { code: 'UNKNOWN', message: 'it failed' }) }
  const back = kind === 'compensable' || (kind === 'pivot' && state === 'refused')
  return back ? { do: 'compensate', failure } : { do: 'stuck', failure, direction: 'execute' }
}

/** The steps of the last group that has something to take back, all at once; groups one after the other. */
function backwards(definition: AnySaga, state: SagaState, facts: Facts): Decision {
  for (const { steps, concurrency } of definition.groups.toReversed()) {
    const left = steps.filter(
      (step) => isToTakeBack(step, state) && stepOf(state, step.name).compensate.state !== 'done',
    )
    if (left.length === 0) continue
    const lost = left.find(({ name }) => stepOf(state, name).compensate.state === 'given-up')
    if (lost !== undefined && facts.underWay.size > 0) return { do: 'wait', until: null, for: null }
    if (lost !== undefined) {
      const error = stepOf(state, lost.name).compensate.error ?? { code: 'UNKNOWN', message: 'it failed' }
      return { do: 'stuck', failure: { step: lost.name, ...error }, direction: 'compensate' }
    }
    return asking(left, { state, facts, direction: 'compensate', most: concurrency, deadline: null })
  }
  return { do: 'end', status: 'COMPENSATED' }
}

/** It happened, or may have. */
export function isToTakeBack({ name, action }: Step, state: SagaState): boolean {
  const { state: progress, doubtful } = execution(state, name)
  if (action.compensate === null) return false
  return doubtful || progress === 'done' || progress === 'intent'
}

interface Asking {
  readonly state: SagaState
  readonly facts: Facts
  readonly direction: Direction
  /** at a time */
  readonly most: number
  /** at which waiting ends in any case */
  readonly deadline: number | null
}

function asking(steps: readonly Step[], { state, facts, direction, most, deadline }: Asking): Decision {
  const { now, underWay } = facts
  const ready: Step[] = []
  const times: number[] = deadline === null ? [] : [deadline]
  let replies = 0
  for (const step of steps) {
    const progress = stepOf(state, step.name)[direction]
    if (progress.state === 'done' || underWay.has(step.name)) continue
    if (progress.state === 'intent') {
      const until = endOfTry(step, direction, progress)
      if (step.action.by !== 'command') return { do: 'doubt', step, direction, error: INTERRUPTED }
      if (now >= until) return { do: 'doubt', step, direction, error: NO_REPLY }
      replies += 1
      times.push(until)
    } else if (progress.state === 'none' || now >= progress.retryAt) ready.push(step)
    else times.push(progress.retryAt)
  }
  const room = most - underWay.size - replies
  if (ready.length > 0 && room > 0) return { do: 'ask', steps: ready.slice(0, room), direction }
  return { do: 'wait', until: times.length === 0 ? null : Math.min(...times), for: replies > 0 ? 'reply' : 'retry' }
}

/** When it is not waited for any longer, milliseconds of the database: `deadline` is that of all tries together. */
export function endOfTry(step: Step, direction: Direction, { asked, since, probing }: Progress): number {
  const { timeout = DEFAULT_TIMEOUT, deadline, kind } = step
  const counts = deadline !== undefined && !probing && direction === 'execute' && kind !== 'retriable'
  return counts ? Math.min(asked + timeout, since + deadline) : asked + timeout
}

const INTERRUPTED: Fault = { code: 'INTERRUPTED', message: 'the process that asked for it ended before it heard' }
const NO_REPLY: Fault = { code: 'TIMEOUT', message: 'there was no reply in time' }
