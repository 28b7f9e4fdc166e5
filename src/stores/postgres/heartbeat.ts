import { NOTE } from '../../model/change.ts'
import type { Sql } from '../../model/sql.ts'

/**
 * Writes a message into this database's log, outside of any transaction: a slot of this database has something to read
 * then, also when everything that is written belongs to other tables or other databases, and its server may let go of
 * the log.
 */
export async function beat(sql: Sql, service: string, direction: 'forward' | 'reverse'): Promise<void> {
  await sql.query(`select pg_logical_emit_message(false, '${NOTE.heartbeat}', $1)`, [`${service} ${direction}`])
}
