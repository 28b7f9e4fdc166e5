import { MigrateError } from '../errors.ts'

/**
 * Thrown by a step, or by a participant: under this idempotency key nothing was done, and nothing will be. Only say so
 * when it is certain; any other error leaves open whether the step happened.
 */
export class StepRefused extends MigrateError {
  constructor(reason: string, options?: { cause?: unknown }) {
    super('STEP_REFUSED', { reason }, options)
  }
}

export function isRefusal(error: unknown): error is MigrateError {
  return error instanceof MigrateError && error.code === 'STEP_REFUSED'
}
