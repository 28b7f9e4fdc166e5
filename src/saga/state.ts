import type { Direction, Entry, Failure, Fault, JournalRow, SagaStatus } from './entry.ts'

/** How far one direction of one step is. */
export interface Progress {
  /**
   * `none`: not begun. `intent`: asked for, no answer yet. `unknown`: a try ended without one; another one follows.
   * `given-up`: no more tries, and it may have happened.
   */
  readonly state: 'none' | 'intent' | 'unknown' | 'failed' | 'done' | 'refused' | 'given-up'
  readonly attempts: number
  /** a try ended without an answer, at some time */
  readonly doubtful: boolean
  /** its tries are used up: it is only asked what became of them */
  readonly probing: boolean
  /** when it was asked for first, and last; milliseconds of the database */
  readonly since: number
  readonly asked: number
  /** of the next try */
  readonly retryAt: number
  readonly result: unknown
  /** the result is to be checked by whoever has the definition */
  readonly unchecked: boolean
  readonly error: Fault | null
}

export interface StepState {
  readonly execute: Progress
  readonly compensate: Progress
}

/** What the journal of a saga amounts to. */
export interface SagaState {
  readonly status: SagaStatus
  readonly steps: ReadonlyMap<string, StepState>
  readonly failure: Failure | null
  /** where it is stuck */
  readonly stuck: { readonly step: string | null; readonly direction: Direction } | null
  /** an operator wants it back */
  readonly cancelled: Failure | null
}

const FRESH: Progress = {
  ...{ state: 'none', attempts: 0, doubtful: false, probing: false, since: 0, asked: 0, retryAt: 0, result: undefined },
  ...{ unchecked: false, error: null },
}
const UNTOUCHED: StepState = { execute: FRESH, compensate: FRESH }
const EMPTY: SagaState = { status: 'RUNNING', steps: new Map(), failure: null, stuck: null, cancelled: null }

export function stateOf(rows: readonly JournalRow[]): SagaState {
  return rows.reduce((state, { at, entries }) => evolve(state, entries, at), EMPTY)
}

export function stepOf(state: SagaState, step: string): StepState {
  return state.steps.get(step) ?? UNTOUCHED
}

/** The state after these entries, which were committed at that time. */
export function evolve(state: SagaState, entries: readonly Entry[], at: number): SagaState {
  return entries.reduce((before, entry) => after(before, entry, at), state)
}

function after(state: SagaState, entry: Entry, at: number): SagaState {
  switch (entry.do) {
    case 'compensate':
      return { ...state, status: 'COMPENSATING', failure: entry.failure, stuck: null }
    case 'stuck': {
      const { failure, direction } = entry
      return { ...state, status: 'STUCK', failure: state.failure ?? failure, stuck: { step: failure.step, direction } }
    }
    case 'ended':
      return { ...state, status: entry.status }
    case 'operator':
      return operated(state, entry, at)
    case 'intent':
    case 'done':
    case 'refused':
    case 'unknown':
    case 'failed':
      return progressed(state, entry, at)
  }
}

type StepEntry = Extract<Entry, { step: string; do: 'intent' | 'done' | 'refused' | 'unknown' | 'failed' }>

function progressed(state: SagaState, entry: StepEntry, at: number): SagaState {
  const direction = entry.do === 'refused' ? 'execute' : entry.direction
  const changed = change(state, entry.step, direction, (before) => advance(before, entry, at))
  const known = entry.do === 'done' || entry.do === 'refused'
  const freed = known && state.stuck?.step === entry.step && state.stuck.direction === direction
  return freed ? goOn(changed) : changed
}

/** Not stuck any more: it goes on in the direction in which it went. */
function goOn(state: SagaState): SagaState {
  const status = state.stuck?.direction === 'compensate' ? 'COMPENSATING' : 'RUNNING'
  // of a saga that goes forward nothing has failed
  return { ...state, status, stuck: null, failure: status === 'RUNNING' ? null : state.failure }
}

function advance(before: Progress, entry: StepEntry, at: number): Progress {
  switch (entry.do) {
    case 'intent': {
      const since = before.attempts === 0 ? at : before.since
      return { ...before, state: 'intent', attempts: before.attempts + 1, asked: at, since }
    }
    case 'done':
      return { ...before, state: 'done', result: entry.result, unchecked: entry.unchecked === true, error: null }
    case 'refused':
      return { ...before, state: 'refused', error: entry.error }
    case 'unknown':
    case 'failed': {
      const unknown = entry.do === 'unknown'
      const doubtful = before.doubtful || unknown
      // what was rolled back leaves nothing to take back
      const last = doubtful || entry.direction === 'compensate' ? 'given-up' : 'refused'
      // a local step has no intent, so its tries are counted here
      const [attempts, since] = unknown ? [before.attempts, before.since] : [before.attempts + 1, before.since || at]
      // also what a reply gave, and its schema has refused
      const failed = { ...before, attempts, since, doubtful, error: entry.error, result: undefined, unchecked: false }
      const probing = unknown && entry.probe === true
      if (entry.retryIn === null) return { ...failed, state: last }
      return { ...failed, state: entry.do, probing, retryAt: at + entry.retryIn }
    }
  }
}

function change(state: SagaState, step: string, direction: Direction, make: (before: Progress) => Progress): SagaState {
  const before = stepOf(state, step)
  const steps = new Map(state.steps)
  steps.set(step, { ...before, [direction]: make(before[direction]) })
  return { ...state, steps }
}

function operated(state: SagaState, entry: Extract<Entry, { do: 'operator' }>, at: number): SagaState {
  const { verb, by, reason, step } = entry
  const failure = { step, code: 'CANCELLED', message: `${by}: ${reason ?? 'cancelled'}` }
  const { stuck } = state
  const direction = stuck?.direction ?? 'execute'
  const onward = goOn(state)
  switch (verb) {
    case 'cancel':
      return { ...(stuck === null ? state : onward), cancelled: failure }
    case 'resume':
      return [...state.steps.keys()].reduce((before, name) => dueNow(before, name, at), state)
    case 'retry':
      return step === null ? onward : change(onward, step, direction, again)
    case 'skip':
      if (step === null) return onward
      return change(onward, step, direction, (before) => ({
        ...before,
        state: 'done',
        result: entry.result,
        error: null,
      }))
    case 'not-done': {
      if (step === null) return onward
      const back = change(onward, step, 'execute', (before) => ({ ...before, state: 'refused', doubtful: false }))
      return { ...back, cancelled: failure }
    }
  }
}

/** As if it had not been tried; that it may have happened stays true. */
function again(before: Progress): Progress {
  return { ...FRESH, doubtful: before.doubtful || before.state === 'given-up', attempts: 0 }
}

function dueNow(state: SagaState, step: string, at: number): SagaState {
  const due = (before: Progress): Progress => ({ ...before, retryAt: Math.min(before.retryAt, at) })
  return change(change(state, step, 'execute', due), step, 'compensate', due)
}
