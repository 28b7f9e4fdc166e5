import type { OutboxMessage } from '../outbox/enqueue.ts'
import type { TransactionClient } from '../model/service-database.ts'
import type { StandardSchema } from '../events/define.ts'
import type { Direction, Failure } from './entry.ts'

/**
 * `compensable`: can be taken back. `pivot`: when it is done the saga goes forward only; it is never taken back.
 * `retriable`: after the pivot, repeated until it succeeds.
 */
export type StepKind = 'compensable' | 'pivot' | 'retriable'

/** What a step is told. */
export interface StepContext<Input, Results> {
  readonly sagaId: string
  readonly step: string
  readonly direction: Direction
  readonly input: Input
  /** of the steps before it */
  readonly results: Results
  /** the same in every try: `sagaId/step/direction` */
  readonly idempotencyKey: string
  /** 1 for the first try, also for the first one after an operator lets it be tried again */
  readonly attempt: number
  /** a try before this one ended without an answer, so it may have happened */
  readonly doubtful: boolean
  /** aborts when the time of this try is over, or the saga has gone to another process */
  readonly signal: AbortSignal
  /** W3C trace context of whoever started the saga */
  readonly traceparent: string | null
}

/** The same for taking a step back. */
export interface CompensationContext<Input, Results, Result> extends StepContext<Input, Results> {
  /** undefined when it is not known whether the step happened */
  readonly result: Result | undefined
  /** why the saga goes back */
  readonly failure: Failure
}

/** What a participant says about an earlier try. */
export type Probe<Result> =
  | { readonly outcome: 'done'; readonly result: Result }
  | { readonly outcome: 'not-done' }
  | { readonly outcome: 'unknown' }

/** When a step is tried again. */
export interface RetryPolicy {
  /** tries in all; default 5, of a compensation 10, of a retriable step without end */
  readonly attempts?: number
  /** milliseconds before the second try, doubled with jitter each time; default 200 */
  readonly first?: number
  /** milliseconds at most; default 30,000, after a hundred tries 300,000 */
  readonly longest?: number
  /** is there no use in trying again? default: never */
  readonly permanent?: (error: Error) => boolean
}

export interface StepTimes {
  readonly retry?: RetryPolicy
  /** of the compensation */
  readonly compensationRetry?: RetryPolicy
  /** of one try, or until the reply to a command, milliseconds; default 30,000 */
  readonly timeout?: number
  /** of all tries together, also the one under way, milliseconds; not of retriable steps; default without end */
  readonly deadline?: number
}

/** A message that asks a participant for something; see OutboxMessage. Default key is the saga's id. */
export type Command = Pick<OutboxMessage, 'type' | 'payload'> & {
  readonly topic: string
  readonly key?: string
}

/** A step as the engine sees it. */
export interface Step extends StepTimes {
  readonly name: string
  readonly kind: StepKind
  readonly action: Action
}

// biome-ignore lint/suspicious/noExplicitAny: the builder has the types, the engine handles any saga
type Any = any

export type Action =
  | {
      readonly by: 'call'
      readonly execute: (context: StepContext<Any, Any>) => Promise<unknown>
      /** null: there is nothing to take back */
      readonly compensate: ((context: CompensationContext<Any, Any, Any>) => Promise<unknown>) | null
      readonly probe: ((context: StepContext<Any, Any>) => Promise<Probe<unknown>>) | null
    }
  | {
      readonly by: 'local'
      readonly execute: (tx: TransactionClient, context: StepContext<Any, Any>) => Promise<unknown>
      readonly compensate:
        | ((tx: TransactionClient, context: CompensationContext<Any, Any, Any>) => Promise<unknown>)
        | null
    }
  | {
      readonly by: 'command'
      readonly execute: (context: StepContext<Any, Any>) => Command
      readonly compensate: ((context: CompensationContext<Any, Any, Any>) => Command) | null
      readonly reply: StandardSchema<unknown> | null
    }

/** Steps that run at the same time. */
export interface Group {
  readonly steps: readonly Step[]
  /** how many of them at a time */
  readonly concurrency: number
}

/** A saga, checked. Make it with `defineSaga`. */
export interface SagaDefinition<Input = unknown, Results = unknown> {
  readonly name: string
  readonly version: number
  readonly groups: readonly Group[]
  /** of the whole saga until its pivot is asked for, milliseconds; null = none */
  readonly deadline: number | null
  /** names of what nobody else may work on meanwhile */
  readonly locks: ((input: Input) => readonly string[]) | null
  /** topic to which participants reply to commands; null: there are no commands */
  readonly replyTo: string | null
  readonly input: StandardSchema<Input> | null
  /** only a type */
  readonly results?: Results
}

// biome-ignore lint/suspicious/noExplicitAny: input is only given to functions of the same definition
export type AnySaga = SagaDefinition<any, any>

export interface Placed {
  readonly step: Step
  /** index of its group */
  readonly group: number
}

export function placed({ groups }: AnySaga): Placed[] {
  return groups.flatMap(({ steps }, group) => steps.map((step) => ({ step, group })))
}

/** What must not change in a version: running sagas rely on it. */
export function shapeOf({ groups, locks }: AnySaga): unknown {
  return {
    locks: locks !== null,
    groups: groups.map(({ steps }) =>
      steps.map(({ name, kind, action }) => ({ name, kind, by: action.by, compensated: action.compensate !== null })),
    ),
  }
}
