import { bySql, type Check, type Found, sidesOf } from './check.ts'

/** under it, a worker that is down for a coffee loses its slot on a busy server */
const SMALL = 1024

export const walCap: Check = {
  id: 'wal-cap',
  severity: 'error',
  looksFor: 'no limit of the log that a slot may keep, on both sides; a limit under 1 GiB is a warning',
  why: 'A slot whose worker is down keeps the log. Without a limit it fills the disk, and the monolith stops.',
  async find(context) {
    const found = sidesOf(context).map(async (side): Promise<Found[]> => {
      const { rows } = await side.sql.query<{ megabytes: number }>(
        `select setting::int as megabytes from pg_settings where name = 'max_slot_wal_keep_size'`,
      )
      const cap = rows[0]?.megabytes ?? -1
      const sql = [`alter system set max_slot_wal_keep_size = '10GB';`, 'select pg_reload_conf();']
      if (cap === -1) return [bySql(side, 'max_slot_wal_keep_size is not set', 'no limit', sql)]
      if (cap >= SMALL) return []
      const message = 'max_slot_wal_keep_size is small: a worker that is down for a while loses its slot'
      return [{ ...bySql(side, message, `${cap} MiB`, sql), severity: 'warning' }]
    })
    return (await Promise.all(found)).flat()
  },
}
