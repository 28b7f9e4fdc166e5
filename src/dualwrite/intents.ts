/** The durable record of second legs, in the control database. Implemented in src/control. */
export interface Intents {
  /** Makes the intent durable. Rejects when that cannot be done: then no leg may be sent. */
  open(intent: Intent): Promise<void>
  /** Records how the leg ended; an intent that the sink has already revoked stays revoked. */
  settle(key: string, outcome: IntentOutcome): Promise<void>
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
  /** the service's `idempotent()` answered; verdict compares its status class with the monolith's */
  | { readonly state: 'answered'; readonly status: number; readonly verdict: 'equal' | 'different' }
  /** no leg was or will be sent: the monolith refused the request or gave no answer */
  | { readonly state: 'skipped'; readonly why: string }
