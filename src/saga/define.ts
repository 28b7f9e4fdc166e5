import type { StandardSchema } from '../events/define.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { check } from './check.ts'
import type {
  Action,
  Command,
  CompensationContext,
  Group,
  Probe,
  SagaDefinition,
  Step,
  StepContext,
  StepKind,
  StepTimes,
} from './definition.ts'

export interface SagaOptions<Input> {
  readonly name: string
  /** grows when steps are added, removed, renamed or change their kind; running sagas stay on theirs */
  readonly version: number
  /** milliseconds from the start until the pivot has to be asked for: after it the saga goes back; default none */
  readonly deadline?: number
  /** what nobody else may work on meanwhile: sagas that name the same wait, first come first served */
  readonly locks?: (input: Stored<Input>) => readonly string[]
  /** topic to which participants reply, see `command` */
  readonly replyTo?: string
  /** checks the input when a saga is started */
  readonly input?: StandardSchema<Input>
}

interface Call<Input, Results, Result> extends StepTimes {
  /** Throws `StepRefused` when it did not happen and will not; any other error leaves open whether it did. */
  readonly execute: (context: StepContext<Stored<Input>, Results>) => Promise<Result>
  /** asked before a try whose predecessor got no answer, and once more when there are no tries left */
  readonly probe?: (context: StepContext<Stored<Input>, Results>) => Promise<Probe<NoInfer<Result>>>
}

interface Local<Input, Results, Result> extends StepTimes {
  /** What it writes through `tx` is committed together with the journal, so exactly once. */
  readonly execute: (tx: TransactionClient, context: StepContext<Stored<Input>, Results>) => Promise<Result>
}

interface Commanding<Input, Results, Result> extends StepTimes {
  /** The message that is sent; its reply is the result. */
  readonly execute: (context: StepContext<Stored<Input>, Results>) => Command
  /** checks the result in the reply */
  readonly reply?: StandardSchema<Result>
}

interface Kinded<Kind, Compensate> {
  /** default compensable */
  readonly kind?: Kind
  /** How it is taken back, or `null`: there is nothing to take back. The pivot, and what comes after it, have none. */
  readonly compensate?: Compensate | null | undefined
}

// What a compiler says of a mistake has the names of these.
interface CompensableStep {
  readonly compensate: unknown
}
interface StepThatIsNotTakenBack {
  readonly compensate?: undefined
}

/** One condition, where of overloads a compiler would complain about the last, whatever the mistake is. */
type Allowed<Kind extends StepKind> = Kind extends 'compensable' ? CompensableStep : StepThatIsNotTakenBack

/** The name, or what is wrong with the step. */
type NewName<Results, Name extends string, After extends boolean, Kind extends StepKind> = Name extends keyof Results
  ? `two steps are called ${Name}`
  : [After, Kind] extends [true, 'compensable' | 'pivot']
    ? 'after the pivot there are only retriable steps'
    : Name

/**
 * What is left of a value when it has been JSON: other steps read it from the journal. A Date is text by then, and what
 * JSON does not have is never there.
 */
export type Stored<T> = 0 extends 1 & T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends { toJSON(): infer Text }
      ? Stored<Text>
      : T extends bigint | symbol | ((...args: never[]) => unknown) | PromiseLike<unknown>
        ? never
        : T extends object
          ? { [K in keyof T]: Stored<T[K]> }
          : T

type Back<Input, Results, Result> = CompensationContext<Stored<Input>, Results, Stored<NoInfer<Result>>>
type With<Results, Name extends string, Result> = Results & { readonly [K in Name]: Stored<Result> }
type IsAfter<After extends boolean, Kind extends StepKind> = Kind extends 'compensable' ? After : true

/** Adds steps to a saga, one after the other. */
export interface SagaBuilder<Input, Results, After extends boolean> {
  /** only a type: whether the pivot is behind it, or something that is not taken back */
  readonly after?: After
  /** A step that calls somebody else. Between intent and answer this process may die, so it is asked for at least once. */
  call<const Name extends string, Result, Kind extends StepKind = 'compensable'>(
    name: NewName<Results, Name, After, Kind>,
    options: Call<Input, Results, Result> &
      Kinded<Kind, (context: Back<Input, Results, Result>) => Promise<unknown>> &
      Allowed<Kind>,
  ): SagaBuilder<Input, With<Results, Name, Result>, IsAfter<After, Kind>>
  /** A step on the service's own database, in one transaction with the journal. */
  local<const Name extends string, Result, Kind extends StepKind = 'compensable'>(
    name: NewName<Results, Name, After, Kind>,
    options: Local<Input, Results, Result> &
      Kinded<Kind, (tx: TransactionClient, context: Back<Input, Results, Result>) => Promise<unknown>> &
      Allowed<Kind>,
  ): SagaBuilder<Input, With<Results, Name, Result>, IsAfter<After, Kind>>
  /** A step that sends a message through the outbox, and waits for the reply without keeping anybody busy. */
  command<const Name extends string, Result, Kind extends StepKind = 'compensable'>(
    name: NewName<Results, Name, After, Kind>,
    options: Commanding<Input, Results, Result> &
      Kinded<Kind, (context: Back<Input, Results, Result>) => Command> &
      Allowed<Kind>,
  ): SagaBuilder<Input, With<Results, Name, Result>, IsAfter<After, Kind>>
  /**
   * Steps at the same time, all compensable or all retriable; each sees the results of the steps before the group. When
   * one fails those that are done, and those of which it is not known, are taken back.
   */
  parallel<Made extends SagaBuilder<Input, any, After>>(
    add: (group: SagaBuilder<Input, Results, After>) => Made,
    options?: { readonly concurrency?: number },
  ): Made
  /** Checks it. Throws SAGA_DEFINITION_INVALID. */
  build(): SagaDefinition<Input, Results>
}

/** Begins a saga: `defineSaga<Input>({ name, version }).call(…).local(…).build()`. */
export function defineSaga<Input>(options: SagaOptions<Input>): SagaBuilder<Input, unknown, false> {
  return new Builder(options as SagaOptions<unknown>, []) as unknown as SagaBuilder<Input, unknown, false>
}

interface AnyOptions extends StepTimes {
  readonly kind?: StepKind
  readonly execute: never
  readonly compensate?: never
  readonly probe?: never
  readonly reply?: never
}

class Builder {
  readonly #options: SagaOptions<unknown>
  readonly #groups: readonly Group[]

  constructor(options: SagaOptions<unknown>, groups: readonly Group[]) {
    this.#options = options
    this.#groups = groups
  }

  call(name: string, options: AnyOptions): Builder {
    const { execute, probe = null } = options
    return this.#with(name, options, { by: 'call', execute, probe, compensate: options.compensate ?? null })
  }

  local(name: string, options: AnyOptions): Builder {
    return this.#with(name, options, { by: 'local', execute: options.execute, compensate: options.compensate ?? null })
  }

  command(name: string, options: AnyOptions): Builder {
    const { execute, reply = null } = options
    return this.#with(name, options, { by: 'command', execute, reply, compensate: options.compensate ?? null })
  }

  parallel(add: (group: Builder) => Builder, { concurrency = Number.POSITIVE_INFINITY } = {}): Builder {
    const steps = add(new Builder(this.#options, [])).#groups.flatMap((group) => group.steps)
    return new Builder(this.#options, [...this.#groups, { steps, concurrency }])
  }

  build(): SagaDefinition {
    const { name, version, deadline = null, locks = null, replyTo = null, input = null } = this.#options
    const definition = { name, version, deadline, locks, replyTo, input, groups: this.#groups }
    check(definition)
    return definition
  }

  #with(name: string, options: AnyOptions, action: Action): Builder {
    const { kind = 'compensable', retry, compensationRetry, timeout, deadline } = options
    const times = {
      ...(retry && { retry }),
      ...(compensationRetry && { compensationRetry }),
      ...(timeout !== undefined && { timeout }),
      ...(deadline !== undefined && { deadline }),
    }
    // left out is not the same as null: `check` must see it
    const saysHow = options.compensate !== undefined || kind !== 'compensable'
    const step: Step = {
      ...times,
      name,
      kind,
      action: saysHow ? action : { ...action, compensate: undefined as never },
    }
    return new Builder(this.#options, [...this.#groups, { steps: [step], concurrency: 1 }])
  }
}
