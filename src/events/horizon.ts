import type { TransactionClient } from '../model/service-database.ts'
import { currentEpoch } from './read.ts'

/** Events that are committed and that no subscriber may see yet, and the transaction that they wait for. */
export interface Horizon {
  readonly waiting: number
  /** since when the oldest of them waits, seconds; 0 = none waits */
  readonly seconds: number
  readonly blocker: HorizonBlocker | null
}

/** An open transaction that has written something, in any database of the cluster. */
export interface HorizonBlocker {
  /** null: a prepared transaction, which has no process */
  readonly pid: number | null
  /** of a prepared transaction */
  readonly gid: string | null
  /** null where the role may not see it */
  readonly database: string | null
  readonly application: string | null
  readonly query: string | null
}

/** What holds subscribers back at this moment. */
export async function readHorizon(client: TransactionClient): Promise<Horizon> {
  const epoch = await currentEpoch(client)
  const { rows } = await client.query(
    `with now as (select pg_snapshot_xmin(pg_current_snapshot()) as xmin)
     select count(e.*)::int as waiting,
       coalesce(extract(epoch from clock_timestamp() - min(e.created_at)), 0)::float8 as seconds, now.xmin::text as xmin
     from now left join eventing.event_store e on e.epoch = $1 and e.tx >= now.xmin
     group by now.xmin`,
    [epoch],
  )
  const { waiting, seconds, xmin } = rows[0] as { waiting: number; seconds: number; xmin: string }
  return { waiting, seconds, blocker: waiting === 0 ? null : await blockerOf(client, xmin) }
}

/** The locks tell everybody whose a transaction is; what it does is for those who may read pg_stat_activity. */
async function blockerOf(client: TransactionClient, xmin: string): Promise<HorizonBlocker | null> {
  const { rows } = await client.query(
    `select l.pid, null as gid, a.datname as database, a.application_name as application, left(a.query, 200) as query
     from pg_locks l left join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
       and l.transactionid = ($1::bigint % 4294967296)::text::xid and l.pid is not null
     union all
     select null, p.gid, p.database, null, null from pg_prepared_xacts p
     where p.transaction = ($1::bigint % 4294967296)::text::xid
     limit 1`,
    [xmin],
  )
  return (rows[0] as HorizonBlocker | undefined) ?? null
}
