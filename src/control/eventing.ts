import type { ConnectionPool, TransactionClient } from '../model/service-database.ts'
import type { Sql } from '../model/sql.ts'
import { inTransaction } from '../transaction.ts'
import { installParts } from './install.ts'

/** The parts of schema `eventing`, each for one part of the library. */
const PARTS = ['events', 'outbox', 'consumer', 'saga'] as const

/**
 * Brings schema `eventing` in the service's own database up to date: event store, outbox, inbox and sagas. Run it when
 * the service starts or with its migrations, as the role that shall own the tables; several processes may do so at once.
 * Throws CONTROL_OUTDATED when the database is newer than this package.
 */
export async function installEventing(pool: ConnectionPool): Promise<void> {
  const database = {
    ...sqlOf(pool),
    transaction: <T>(run: (sql: Sql) => Promise<T>) => inTransaction(pool, (tx) => run(sqlOf(tx))),
  }
  await installParts(database, 'eventing', PARTS)
}

function sqlOf(client: TransactionClient): Sql {
  return {
    async query(text, values = []) {
      const { rows, rowCount } = await client.query(text, [...values])
      return { rows, rowCount: rowCount ?? 0 }
    },
  }
}
