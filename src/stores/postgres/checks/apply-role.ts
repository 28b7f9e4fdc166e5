import { applyRoleSql } from '../apply-role.ts'
import { bySql, type Check, sidesOf } from './check.ts'

export const applyRole: Check = {
  id: 'apply-role',
  severity: 'error',
  looksFor: 'an application that logs in with the role of migrate, on both sides',
  why: 'The gate lets that role pass and nobody else: it could not tell the application from migrate.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => {
      const { rows } = await side.sql.query<{ seen: string | null }>(
        `select string_agg(distinct coalesce(nullif(application_name, ''), 'unnamed'), ', ') as seen
         from pg_stat_activity
         where usename = current_user and datname = current_database() and application_name not like 'migrate%'
           and backend_type = 'client backend'`,
      )
      const seen = rows[0]?.seen ?? null
      const { user } = side.server
      const named = side.kind === 'monolith' && user === context.monolithRole
      if (seen === null && !named) return []
      const who = side.kind === 'monolith' ? 'the monolith' : 'the service'
      const tables = side.kind === 'monolith' ? context.tables : context.targetTables
      const measured = seen === null ? 'monolith.role is the same' : `seen: ${seen}`
      return [bySql(side, `${who} logs in as ${user}, as migrate does`, measured, applyRoleSql(side.server, tables))]
    })
    return (await Promise.all(found)).flat()
  },
}
