import type { Lsn } from '../model/lsn.ts'
import type { DeadLetter } from './dead-letter.ts'

/** The durable record of second legs, in the control database. Implemented in src/control. */
export interface Intents {
  /** Makes the intent durable. Rejects when that cannot be done: then no leg may be sent. */
  open(intent: Intent): Promise<void>
  /** Records how the leg ended; an intent that the sink has already revoked stays revoked. */
  settle(key: string, outcome: IntentOutcome, progress?: LegProgress): Promise<void>
  /** Records how far legs have come that were not answered; their states stay. */
  note(progress: ReadonlyMap<string, LegProgress>): Promise<void>
  /** Keeps a leg for a person; a second letter of one leg changes nothing. */
  bury(letter: DeadLetter): Promise<void>
}

export interface Intent {
  /** UUIDv7; the leg's Idempotency-Key */
  readonly key: string
  readonly service: string
  /** epoch of the authority row under which the leg may run */
  readonly epoch: number
  readonly method: string
  /** path of the request without its query */
  readonly path: string
  /** the router instance that opened it */
  readonly instance: string
}

export type IntentOutcome =
  | { readonly state: 'answered'; readonly status: number; readonly verdict: AnswerVerdict }
  /** no leg was or will be sent: the monolith refused the request or gave no answer */
  | { readonly state: 'skipped'; readonly why: string }
  /** it never left the router, though the monolith did carry the request out */
  | { readonly state: 'revoked' }

/** What an answer for good says about the service. */
export type AnswerVerdict =
  /** the monolith's status class and, for a new row, its id */
  | 'equal'
  | 'different'
  /** different, but an earlier leg of the entity was not answered: its rows may not have been there yet */
  | 'undecided'
  | 'id-not-kept'

export interface LegProgress {
  /** requests begun */
  readonly attempts: number
  /** class of the last failure */
  readonly error: string | null
  /** position of the monolith's log after its answer */
  readonly sourceLsn: Lsn | null
  /** nothing more will be sent */
  readonly givenUp: boolean
}
