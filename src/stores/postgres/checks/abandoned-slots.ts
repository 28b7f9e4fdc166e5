import { quoteLiteral } from '../identifier.ts'
import { byHand, type Check, sidesOf } from './check.ts'

export const abandonedSlots: Check = {
  id: 'abandoned-slots',
  severity: 'warning',
  looksFor: 'a replication slot of somebody else that nobody reads, or that is lost, on both sides',
  why: 'It keeps the log, and with ours beside it the disk fills sooner.',
  async find(context) {
    const found = sidesOf(context).map(async (side) => {
      const { rows } = await side.sql.query<{ slot: string; status: string; kept: string }>(
        `select slot_name as slot, coalesce(wal_status, 'unknown') as status,
           coalesce(pg_size_pretty(pg_wal_lsn_diff(
             case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn)), '0 bytes') as kept
         from pg_replication_slots
         where (not active or wal_status = 'lost') and not temporary and slot_name <> all($1::text[])
         order by 1`,
        [context.ownSlots],
      )
      return rows.map(({ slot, status, kept }) => {
        const fix = `When nobody needs it: select pg_drop_replication_slot(${quoteLiteral(slot)});`
        return byHand(side, `nobody reads the replication slot ${slot}`, `keeps ${kept}, ${status}`, fix)
      })
    })
    return (await Promise.all(found)).flat()
  },
}
