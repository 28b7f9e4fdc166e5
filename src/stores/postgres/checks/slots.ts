import { bySql, type Check, sidesOf } from './check.ts'

export const slots: Check = {
  id: 'slots',
  severity: 'error',
  looksFor: 'no free replication slot, on both sides',
  why: 'Each direction of a service reads through one slot.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => {
      const { rows } = await side.sql.query<{ most: number; used: number; ours: boolean }>(
        `select current_setting('max_replication_slots')::int as most, count(*)::int as used,
           coalesce(bool_or(slot_name = any($1) and database = current_database()), false) as ours
         from pg_replication_slots`,
        [context.serviceSlots],
      )
      const { most = 0, used = 0, ours = false } = rows[0] ?? {}
      // an earlier run has taken its slot already
      if (used < most || ours) return []
      const sql = `alter system set max_replication_slots = ${most + 10};  -- and restart the server`
      return [bySql(side, 'no replication slot is free', `${used} of ${most} used`, [sql])]
    })
    return (await Promise.all(found)).flat()
  },
}
