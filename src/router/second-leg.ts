import type { Lsn } from '../model/lsn.ts'

/** What the router needs of the dual writes. Implemented in src/dualwrite. */
export interface SecondLeg {
  /**
   * Makes the intent of a leg durable, before the monolith is called.
   * Resolves to null when that failed in time: the client is served all the same, without a leg. Never rejects.
   */
  open(write: LegWrite): Promise<OpenLeg | null>
  /** Counts a write that can have no leg. */
  skipped(service: string, why: string): void
}

export interface LegWrite {
  readonly service: string
  /** path of the route in the configuration */
  readonly route: string
  readonly epoch: number
  readonly instance: string
  readonly method: string
  /** origin-form target with its query */
  readonly target: string
  /** the headers that the monolith gets: name, value, name, value */
  readonly headers: readonly string[]
  readonly body: Buffer | null
  /** the id that an answer to this request gives to a new row */
  readonly idOf: (answer: { status: number; location: string | null; body: Buffer | null }) => string | null
}

export interface OpenLeg {
  /** Called once, when the monolith's answer is in; resolves when the leg has ended. Never rejects. */
  answered(answer: MonolithAnswer): Promise<void>
}

export interface MonolithAnswer {
  /** null = no answer came */
  readonly status: number | null
  /** the id that the monolith gave to a new row */
  readonly id: string | null
  /** position of the monolith's WAL after the answer, null when it cannot be had */
  readonly position: Promise<Lsn | null>
}
