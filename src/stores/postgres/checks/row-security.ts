import { quote } from '../identifier.ts'
import { bySql, type Check, type Side } from './check.ts'

export const rowSecurity: Check = {
  id: 'row-security',
  severity: 'error',
  looksFor: 'row level security that applies to the apply role, on both sides',
  why: 'The copy would silently lack the rows that a policy hides.',
  async find({ monolith, target, tables, targetTables }) {
    const found = await Promise.all([
      activeOn(
        monolith,
        tables.map(({ oid }) => oid),
      ),
      activeOn(
        target,
        targetTables.map(({ oid }) => oid),
      ),
    ])
    return found.flat()
  },
}

/** The server's own answer: it knows of owners, FORCE and BYPASSRLS. */
async function activeOn(side: Side, oids: readonly number[]) {
  const { rows } = await side.sql.query<{ table: string }>(
    `select oid::regclass::text as "table" from pg_class
     where oid = any($1::oid[]) and row_security_active(oid) order by oid`,
    [oids],
  )
  const { user } = side.server
  return rows.map(({ table }) =>
    bySql(side, `row level security of ${table} applies to ${user}`, 'no BYPASSRLS', [
      `alter role ${quote(user)} bypassrls;`,
    ]),
  )
}
