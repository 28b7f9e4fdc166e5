import { MigrateError } from '../../errors.ts'
import type { Login } from './login.ts'

/** An error of the driver or the server as ours. Keeps the SQLSTATE; never a row value (DETAIL is left out). */
export function translate(error: unknown, login: Pick<Login, 'role' | 'address'>): MigrateError {
  if (error instanceof MigrateError) return error
  const { role, address } = login
  const { code, message } = facts(error)
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
    const { code } = facts(at)
    if (/^[0-9A-Z]{5}$/.test(code) && !(at instanceof MigrateError)) return code
  }
  return ''
}

function facts(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: '', message: String(error) }
  // an AggregateError of a refused connection has no message of its own
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error
  const message = inner instanceof Error ? inner.message : String(inner)
  const code = 'code' in error ? String(error.code) : ''
  return { code, message: message === '' ? code : message }
}

const NETWORK = /^(ECONN|EHOST|ENET|ENOTFOUND|EPIPE|ETIMEDOUT|EAI_)/

function isUnavailable(code: string, message: string): boolean {
  return (
    NETWORK.test(code) ||
    /^(08|57P|53)/.test(code) ||
    /^(Connection terminated|timeout exceeded|Client has encountered|Query read timeout)/i.test(message)
  )
}
