import { byHand, type Check } from './check.ts'

export const unlogged: Check = {
  id: 'unlogged',
  severity: 'error',
  looksFor: 'an unlogged table or partition',
  why: 'Its changes are not in the log, so nothing could follow them.',
  async find({ monolith, oids }) {
    const { rows } = await monolith.sql.query<{ table: string }>(
      `select oid::regclass::text as "table" from pg_class
       where oid = any($1::oid[]) and relkind = 'r' and relpersistence = 'u' order by oid`,
      [oids],
    )
    return rows.map(({ table }) => {
      // rewrites the table under an exclusive lock: for a person to choose the hour
      const fix = `alter table ${table} set logged;  -- rewrites the table`
      return byHand(monolith, `${table} is unlogged`, 'unlogged', fix)
    })
  },
}
