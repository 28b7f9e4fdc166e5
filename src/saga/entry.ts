import { inspect } from 'node:util'

/** Forwards, or taking back. */
export type Direction = 'execute' | 'compensate'

/** An error as the journal keeps it: its class or code, and what it says. */
export interface Fault {
  readonly code: string
  readonly message: string
}

/** Why a saga goes back instead of forward. */
export interface Failure extends Fault {
  /** null: it was no step, but the deadline of the saga or an operator */
  readonly step: string | null
}

/** What happened to a saga. The journal holds them in order, and the state is made of nothing else. */
export type Entry =
  /** is about to be asked for: from here on it may have happened */
  | { readonly do: 'intent'; readonly step: string; readonly direction: Direction }
  | {
      readonly do: 'done'
      readonly step: string
      readonly direction: Direction
      readonly result?: unknown
      readonly via?: Via
      /** the process that took the reply does not have the definition: the schema has not seen the result */
      readonly unchecked?: true
    }
  /** it did not happen, and will not */
  | { readonly do: 'refused'; readonly step: string; readonly error: Fault }
  /** it may have happened or not; `retryIn` milliseconds until the next try, null = there is none */
  | {
      readonly do: 'unknown'
      readonly step: string
      readonly direction: Direction
      readonly error: Fault
      readonly retryIn: number | null
      /** there are no more tries: it is only asked what became of them */
      readonly probe?: true
    }
  /** a local step was rolled back; the same */
  | {
      readonly do: 'failed'
      readonly step: string
      readonly direction: Direction
      readonly error: Fault
      readonly retryIn: number | null
    }
  | { readonly do: 'compensate'; readonly failure: Failure }
  | { readonly do: 'stuck'; readonly failure: Failure; readonly direction: Direction }
  | {
      readonly do: 'operator'
      readonly verb: Verb
      readonly by: string
      readonly reason: string | null
      readonly step: string | null
      readonly result?: unknown
    }
  | { readonly do: 'ended'; readonly status: 'DONE' | 'COMPENSATED' }

/** How the outcome became known, when not by the answer to the call. */
export type Via = 'probe' | 'reply'

/** What operators do to a saga. `not-done`: the step at which it is stuck did not happen, go back from it. */
export type Verb = 'retry' | 'skip' | 'resume' | 'cancel' | 'not-done'

/** One commit of the journal. */
export interface JournalRow {
  readonly seq: number
  /** of the database, milliseconds since 1970 */
  readonly at: number
  readonly entries: readonly Entry[]
}

export type SagaStatus = 'RUNNING' | 'COMPENSATING' | 'STUCK' | 'DONE' | 'COMPENSATED'

/** An error, without its stack; what a driver says may have a part of a row in it, so it is kept short. */
export function faultOf(error: unknown): Fault {
  if (!(error instanceof Error)) return { code: 'Error', message: readable(error) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  return { code: readable(code), message: readable(error.message) }
}

/** As the journal takes it. Somebody else made the error, so it need not be the text that its type says. */
export function readable(given: unknown): string {
  const text = typeof given === 'string' ? given : inspect(given, { breakLength: Number.POSITIVE_INFINITY })
  const short = text.length > 500 ? `${text.slice(0, 500)}…` : text
  // the database takes neither NUL nor the half of a character that cutting may leave
  return short.replaceAll('\u0000', ' ').toWellFormed()
}
