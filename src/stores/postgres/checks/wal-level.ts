import { bySql, type Check, sidesOf } from './check.ts'

export const walLevel: Check = {
  id: 'wal-level',
  severity: 'error',
  looksFor: 'wal_level other than logical, on both sides',
  why: 'Changes can only be read from a log that is written for it; the way back reads the service in the same way.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => {
      const { rows } = await side.sql.query<{ level: string; pending: boolean }>(
        `select setting as level, pending_restart as pending from pg_settings where name = 'wal_level'`,
      )
      const level = rows[0]?.level ?? ''
      if (level === 'logical') return []
      const measured = `wal_level = ${level}${rows[0]?.pending === true ? ', changed but not restarted' : ''}`
      const sql = 'alter system set wal_level = logical;  -- and restart the server'
      return [bySql(side, 'the log is not written for logical decoding', measured, [sql])]
    })
    return (await Promise.all(found)).flat()
  },
}
