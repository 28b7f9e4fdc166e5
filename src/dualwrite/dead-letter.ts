import type { Lsn } from '../model/lsn.ts'

/** Why a leg needs a person; each is an error of the catalogue. */
export type LetterCode =
  /** the service answered with another status class than the monolith */
  | 'LEG_DIFFERENT'
  /** the service gave a new row another id; the route has no legs until its letters are closed */
  | 'ID_NOT_KEPT'
  /** so many legs of the route in a row were not answered */
  | 'LEG_UNANSWERED'

export interface DeadLetter {
  /** the leg's Idempotency-Key */
  readonly key: string
  readonly service: string
  readonly method: string
  /** without its query */
  readonly path: string
  /** path of the route in the configuration */
  readonly route: string
  /** what the leg was ordered by; null = nothing */
  readonly entity: string | null
  readonly epoch: number
  readonly code: LetterCode
  /** class of the last failure */
  readonly error: string | null
  readonly monolithStatus: number
  /** null = it did not answer */
  readonly serviceStatus: number | null
  readonly attempts: number
  readonly sourceLsn: Lsn | null
  /** the beginning of the request's body */
  readonly body: Buffer | null
  /** length of the whole body */
  readonly bodyBytes: number
}

/** So much of a request's body is kept. */
export const KEPT_BODY = 64 * 1024
