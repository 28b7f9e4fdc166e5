import { MigrateError } from '../errors.ts'
import { driverFacts, isTransient } from '../model/transient.ts'

/** `transient`: the same message may succeed later. `permanent`: never. */
export type Verdict = 'transient' | 'permanent'

/**
 * What is wrong with the message itself is permanent: it cannot be decoded, its schema refuses it, PostgreSQL refuses its
 * values (classes 22 and 23), or a MigrateError says `never`. Everything else is transient: a message that waits too long
 * does less harm than one that was given up too early.
 */
export function classify(error: Error): Verdict {
  if (isTransient(error)) return 'transient'
  if (error instanceof MigrateError) return error.retry === 'never' ? 'permanent' : 'transient'
  return /^(22|23)[0-9A-Z]{3}$/.test(driverFacts(error).code) ? 'permanent' : 'transient'
}
