import { MigrateError } from './errors.ts'
import type { ConnectionPool, TransactionClient } from './model/service-database.ts'

/**
 * Runs the work in one transaction on a connection of its own: committed when it resolves, rolled back when it rejects.
 * Rejects with the error of the work, or with the driver's; after an error of `commit` it may have been committed. When
 * the server ends the connection it does not wait for the work, which may wait for something that never comes. A
 * statement of the work that would end the transaction, or begin one, is not sent: it rejects with TRANSACTION_SHARED.
 */
export async function inTransaction<T>(pool: ConnectionPool, work: (tx: TransactionClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  const gone = Promise.withResolvers<never>()
  // nobody may be waiting
  gone.promise.catch(() => undefined)
  // without a listener, a connection that the server ends between two statements would end the whole process
  const onError = (error: Error): void => {
    broken = error
    gone.reject(error)
  }
  client.on('error', onError)
  try {
    await client.query('begin')
    const result = await Promise.race([work(sharing(client)), gone.promise])
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => {
      // the connection is gone, and the transaction with it; the pool must not hand it out again
      broken = failure
    })
    throw error
  } finally {
    client.off('error', onError)
    client.release(broken)
  }
}

/** What the library writes around the work must be committed with it, or not at all. */
function sharing(client: TransactionClient): TransactionClient {
  return {
    query(text, values) {
      // pg takes an object with the text as well
      const said: unknown = typeof text === 'string' ? text : (text as { text?: unknown } | null)?.text
      const control = typeof said === 'string' ? CONTROL.exec(said) : null
      if (control === null) return client.query(text, values)
      return Promise.reject(new MigrateError('TRANSACTION_SHARED', { statement: control[1]?.toLowerCase() ?? '' }))
    },
  }
}

/** Not `rollback to`, which goes back to a savepoint. */
const CONTROL =
  /^\s*(begin|start\s+transaction|commit|end|abort|rollback(?!(?:\s+(?:work|transaction))?\s+to\b)|prepare\s+transaction)\b/i
