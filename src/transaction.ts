import type { ConnectionPool, TransactionClient } from './model/service-database.ts'

/**
 * Runs the work in one transaction on a connection of its own: committed when it resolves, rolled back when it rejects.
 * Rejects with the error of the work, or with the driver's; after an error of `commit` it may have been committed. When
 * the server ends the connection it does not wait for the work, which may wait for something that never comes.
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
    const result = await Promise.race([work(client), gone.promise])
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
