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
  readonly locks?: (input: Input) => readonly string[]
  /** topic to which participants reply, see `command` */
  readonly replyTo?: string
  /** checks the input when a saga is started */
  readonly input?: StandardSchema<Input>
}

interface Call<Input, Results, Result> extends StepTimes {
  /** Throws `StepRefused` when it did not happen and will not; any other error leaves open whether it did. */
  readonly execute: (context: StepContext<Input, Results>) => Promise<Result>
  /** asked before a try whose predecessor got no answer, and once more when there are no tries left */
  readonly probe?: (context: StepContext<Input, Results>) => Promise<Probe<NoInfer<Result>>>
}

interface Local<Input, Results, Result> extends StepTimes {
  /** What it writes through `tx` is committed together with the journal, so exactly once. */
  readonly execute: (tx: TransactionClient, context: StepContext<Input, Results>) => Promise<Result>
}

interface Commanding<Input, Results, Result> extends StepTimes {
  /** The message that is sent; its reply is the result. */
  readonly execute: (context: StepContext<Input, Results>) => Command
  /** checks the result in the reply */
  readonly reply?: StandardSchema<Result>
}

/** A compensable step says how it is taken back, or `null`: there is nothing to take back. */
interface Compensable<Compensate> {
  readonly kind?: 'compensable'
  readonly compensate: Compensate | null
}

interface Final<Kind extends StepKind> {
  readonly kind: Kind
  readonly compensate?: undefined
}

type Back<Input, Results, Result> = CompensationContext<Input, Results, NoInfer<Result>>
type With<Results, Name extends string, Result> = Results & { readonly [K in Name]: Result }
type NewName<Results, Name extends string> = Name extends keyof Results ? never : Name
/** After the pivot there are only retriable steps. */
type Before<After extends boolean, Name> = After extends true ? never : Name
type Last<After extends boolean> = After extends true ? 'retriable' : 'pivot' | 'retriable'

/** Adds steps to a saga, one after the other. */
export interface SagaBuilder<Input, Results, After extends boolean> {
  /** A step that calls somebody else. Between intent and answer this process may die, so it is asked for at least once. */
  call<const Name extends string, Result>(
    name: Before<After, NewName<Results, Name>>,
    options: Call<Input, Results, Result> & Compensable<(context: Back<Input, Results, Result>) => Promise<unknown>>,
  ): SagaBuilder<Input, With<Results, Name, Result>, After>
  call<const Name extends string, Result>(
    name: NewName<Results, Name>,
    options: Call<Input, Results, Result> & Final<Last<After>>,
  ): SagaBuilder<Input, With<Results, Name, Result>, true>
  /** A step on the service's own database, in one transaction with the journal. */
  local<const Name extends string, Result>(
    name: Before<After, NewName<Results, Name>>,
    options: Local<Input, Results, Result> &
      Compensable<(tx: TransactionClient, context: Back<Input, Results, Result>) => Promise<unknown>>,
  ): SagaBuilder<Input, With<Results, Name, Result>, After>
  local<const Name extends string, Result>(
    name: NewName<Results, Name>,
    options: Local<Input, Results, Result> & Final<Last<After>>,
  ): SagaBuilder<Input, With<Results, Name, Result>, true>
  /** A step that sends a message through the outbox, and waits for the reply without keeping anybody busy. */
  command<const Name extends string, Result>(
    name: Before<After, NewName<Results, Name>>,
    options: Commanding<Input, Results, Result> & Compensable<(context: Back<Input, Results, Result>) => Command>,
  ): SagaBuilder<Input, With<Results, Name, Result>, After>
  command<const Name extends string, Result>(
    name: NewName<Results, Name>,
    options: Commanding<Input, Results, Result> & Final<Last<After>>,
  ): SagaBuilder<Input, With<Results, Name, Result>, true>
  /**
   * Steps at the same time, all compensable or all retriable; each sees the results of the steps before the group. When
   * one fails those that are done, and those of which it is not known, are taken back.
   */
  parallel<Made extends SagaBuilder<Input, Results, After>>(
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
