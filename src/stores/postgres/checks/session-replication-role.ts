import { quote } from '../identifier.ts'
import { byHand, bySql, type Check, type Found, type Side, sidesOf } from './check.ts'

export const sessionReplicationRole: Check = {
  id: 'session-replication-role',
  severity: 'error',
  looksFor: 'an apply role that may not set session_replication_role, on both sides',
  why: 'Rows that are copied have been through triggers and foreign keys already; a second time would change them.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => ((await maySet(side)) ? [] : [refusal(side)]))
    return (await Promise.all(found)).flat()
  },
}

async function maySet({ sql, server }: Side): Promise<boolean> {
  // Before 15 there is no such privilege, and not even the function: the statement must not be sent there.
  if (server.version < 150_000 || server.superuser) return server.superuser
  const { rows } = await sql.query<{ may: boolean }>(
    `select has_parameter_privilege(current_user, 'session_replication_role', 'set') as may`,
  )
  return rows[0]?.may === true
}

function refusal(side: Side): Found {
  const { user, version, versionText } = side.server
  const message = `${user} may not set session_replication_role`
  if (version >= 150_000) {
    const sql = `grant set on parameter session_replication_role to ${quote(user)};`
    return bySql(side, message, 'no SET on the parameter', [sql])
  }
  const fix = `PostgreSQL ${versionText} lets superusers only: make a superuser for migrate alone, or upgrade to 15.`
  return byHand(side, message, 'no superuser', fix)
}
