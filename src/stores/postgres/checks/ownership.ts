import type { TableInfo } from '../catalogue.ts'
import { quote } from '../identifier.ts'
import { byHand, bySql, type Check, type Found, type Side } from './check.ts'

export const ownership: Check = {
  id: 'ownership',
  severity: 'error',
  looksFor: 'a table whose owner the apply role is no member of, on both sides',
  why: 'Publishing a table and arming its gate take the rights of its owner.',
  async find({ monolith, target, tables, targetTables }) {
    return (await Promise.all([foundOn(monolith, tables), foundOn(target, targetTables)])).flat()
  },
}

async function foundOn(side: Side, tables: readonly TableInfo[]): Promise<Found[]> {
  const { rows } = await side.sql.query<{ owner: string; tables: string; superuser: boolean }>(
    `select r.oid::regrole::text as owner, string_agg(c.oid::regclass::text, ', ' order by c.oid) as tables,
       r.rolsuper as superuser
     from pg_class c join pg_roles r on r.oid = c.relowner
     where c.oid = any($1::oid[]) and not pg_has_role(current_user, c.relowner, 'usage')
     group by r.oid, r.rolsuper`,
    [tables.map(({ oid }) => oid)],
  )
  const { user } = side.server
  return rows.map(({ owner, tables: names, superuser }) => {
    const message = `${names} belongs to ${owner}, and ${user} is no member of that role`
    // a member of a superuser is one step from being one
    const fix = `${owner} is a superuser: first give the tables to a role without login (alter table … owner to …).`
    if (superuser) return byHand(side, message, `owner ${owner}, a superuser`, fix)
    return bySql(side, message, `owner ${owner}`, [`grant ${owner} to ${quote(user)};`])
  })
}
