/**
 * True for errors of a driver that say nothing about the work itself: the server is away, full or shutting down, the
 * connection is gone, or another transaction was in the way. The same work may be tried again. After one of them it is
 * not known whether a commit took place.
 */
export function isTransient(error: unknown): boolean {
  const { code, message } = driverFacts(error)
  // serialization failure, deadlock, lock not available
  return isUnavailable(code, message) || /^(40001|40P01|55P03)$/.test(code)
}

/** SQLSTATE or the system's name of an error of the driver ('' = none), and its message. */
export function driverFacts(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: '', message: String(error) }
  // an AggregateError of a refused connection has no message of its own
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error
  const message = inner instanceof Error ? inner.message : String(inner)
  const code = 'code' in error ? String(error.code) : ''
  return { code, message: message === '' ? code : message }
}

const NETWORK = /^(ECONN|EHOST|ENET|ENOTFOUND|EPIPE|ETIMEDOUT|EAI_)/

/** The server cannot be reached, or takes nobody now. */
export function isUnavailable(code: string, message: string): boolean {
  return (
    NETWORK.test(code) ||
    /^(08|57P|53)/.test(code) ||
    /^(Connection terminated|timeout exceeded|Client has encountered|Query read timeout)/i.test(message)
  )
}
