import { quote } from '../identifier.ts'
import { bySql, type Check, sidesOf } from './check.ts'

export const replication: Check = {
  id: 'replication',
  severity: 'error',
  looksFor: 'an apply role without REPLICATION, on both sides',
  why: 'Only such a role may create a slot and read from it.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => {
      const { rows } = await side.sql.query<{ may: boolean; managed: string | null }>(
        `select rolreplication or rolsuper as may,
           (select min(r.rolname) from pg_roles r where r.rolname in ('rds_replication', 'rds_superuser')
              and pg_has_role(current_user, r.oid, 'usage')) as managed
         from pg_roles where rolname = current_user`,
      )
      // managed servers stand in for the attribute with a role
      if (rows[0]?.may === true || rows[0]?.managed != null) return []
      const { user } = side.server
      return [bySql(side, `${user} may not replicate`, 'no REPLICATION', [`alter role ${quote(user)} replication;`])]
    })
    return (await Promise.all(found)).flat()
  },
}
