import { bySql, type Check, sidesOf } from './check.ts'

/** one that streams, one that copies */
const NEEDED = 2

export const senders: Check = {
  id: 'senders',
  severity: 'error',
  looksFor: 'fewer than two free WAL senders, on both sides',
  why: "Copying and following take one each; taking the last ones could lock the monolith's own standby out.",
  async find(context) {
    const found = sidesOf(context).map(async (side) => {
      const { rows } = await side.sql.query<{ most: number; used: number }>(
        `select current_setting('max_wal_senders')::int as most,
           (select count(*)::int from pg_stat_replication where coalesce(application_name, '') not like 'migrate/%') as used`,
      )
      const { most = 0, used = 0 } = rows[0] ?? {}
      if (most - used >= NEEDED) return []
      const sql = `alter system set max_wal_senders = ${used + 10};  -- and restart the server`
      return [bySql(side, 'fewer than two WAL senders are free', `${used} of ${most} used`, [sql])]
    })
    return (await Promise.all(found)).flat()
  },
}
