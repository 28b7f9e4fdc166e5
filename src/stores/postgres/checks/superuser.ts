import { applyRoleSql } from '../apply-role.ts'
import { bySql, type Check, sidesOf } from './check.ts'

export const superuser: Check = {
  id: 'superuser',
  severity: 'warning',
  looksFor: 'an apply role that is a superuser, on both sides (PostgreSQL 15 and newer)',
  why: 'A superuser can do far more than migrate needs; a role with these grants can do exactly that.',
  async find(context) {
    return sidesOf(context)
      .filter(({ server }) => server.superuser && server.version >= 150_000)
      .map((side) => {
        const tables = side.kind === 'monolith' ? context.tables : context.targetTables
        return bySql(side, `${side.server.user} is a superuser`, 'SUPERUSER', applyRoleSql(side.server, tables))
      })
  },
}
