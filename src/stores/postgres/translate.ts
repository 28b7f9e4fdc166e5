import { MigrateError } from '../../errors.ts'
import { driverFacts, isUnavailable } from '../../model/transient.ts'
import type { Login } from './login.ts'

/** An error of the driver or the server as ours. Keeps the SQLSTATE; never a row value (DETAIL is left out). */
export function translate(error: unknown, login: Pick<Login, 'role' | 'address'>): MigrateError {
  if (error instanceof MigrateError) return error
  const { role, address } = login
  const { code, message } = driverFacts(error)
  if (/^(28|3D)/.test(code))
    return new MigrateError('DATABASE_LOGIN', { role, address, reason: message }, { cause: error })
  if (code === '42501') return new MigrateError('DATABASE_PERMISSION', { role, reason: message }, { cause: error })
  if (isSilence(error)) {
    const reason = 'it does not answer'
    return new MigrateError('DATABASE_UNREACHABLE', { role, address, reason }, { cause: error })
  }
  if (isUnavailable(code, message)) {
    return new MigrateError('DATABASE_UNREACHABLE', { role, address, reason: message }, { cause: error })
  }
  if (/^[0-9A-Z]{5}$/.test(code)) {
    return new MigrateError('DATABASE_STATEMENT', { role, sqlstate: code, reason: message }, { cause: error })
  }
  return new MigrateError('INTERNAL', { reason: message }, { cause: error })
}

/** The client has given up waiting for an answer; whether the statement was carried out is not known. */
function isSilence(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at.message === SILENCE) return true
  return false
}

/** What pg says then. */
const SILENCE = 'Query read timeout'

/** The SQLSTATE behind an error, wherever in its chain of causes, or ''. */
export function sqlstate(error: unknown): string {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = driverFacts(at)
    if (/^[0-9A-Z]{5}$/.test(code) && !(at instanceof MigrateError)) return code
  }
  return ''
}
