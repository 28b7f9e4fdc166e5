import { asMigrateError } from '../errors.ts'
import type { Alerts } from '../model/alert.ts'
import { pause } from '../model/pause.ts'
import type { ConnectionPool } from '../model/service-database.ts'
import { tellOfSagas } from './alerts.ts'

interface House {
  readonly pool: ConnectionPool
  readonly ttl: number
  readonly keepDays: number
  /** null: nobody is told */
  readonly alerts: Alerts | null
  /** as alerts name it */
  readonly service: string
  readonly ring: () => void
  readonly onTrouble: (error: Error) => void
}

/** Milliseconds at most between two rounds: whoever dies is replaced within its lease and one of them. */
const ROUND = 500
/** Milliseconds between two looks at what is less urgent. */
const SELDOM = 5_000
/** Sagas that are deleted at a time. */
const MOST = 1_000
/** Milliseconds between two times, as long as there are more: a busy service ends thousands a second. */
const MORE = 20

/** What every worker does for all of them, until the signal aborts. */
export async function keepHouse(house: House, signal: AbortSignal): Promise<void> {
  let seldom = 0
  let more = false
  while (!signal.aborted) {
    try {
      if ((await count(house.pool, `select eventing.saga_takeover() as n`)) > 0) house.ring()
      if (performance.now() >= seldom) {
        seldom = performance.now() + SELDOM
        if ((await count(house.pool, `select eventing.saga_reap() as n`)) > 0) house.ring()
        if (house.alerts !== null) await tellOfSagas(house.pool, house.service, house.alerts)
        await forgetAlerts(house)
        more = true
      }
      if (more) more = (await forget(house)) === MOST
    } catch (error) {
      more = false
      house.onTrouble(asMigrateError(error))
    }
    await pause(more ? MORE : Math.min(ROUND, house.ttl / 3), signal).catch(() => undefined)
  }
}

async function count(pool: ConnectionPool, query: string): Promise<number> {
  const { rows } = await pool.query(query)
  return (rows[0] as { n: number }).n
}

/** Deletes sagas that ended long ago, with their journals. How many they were. */
async function forget({ pool, keepDays }: House): Promise<number> {
  const { rowCount } = await pool.query(
    `with old as (
       select id from eventing.saga where ended_at < clock_timestamp() - $1 * interval '1 day'
       order by ended_at limit $2 for update skip locked
     ), journal as (
       delete from eventing.saga_journal j using old where j.saga_id = old.id
     )
     delete from eventing.saga s using old where s.id = old.id`,
    [keepDays, MOST],
  )
  return rowCount ?? 0
}

/** What is over for so long that its saga is gone too. */
async function forgetAlerts({ pool, keepDays }: House): Promise<void> {
  await pool.query(`delete from eventing.saga_alert where resolved_at < clock_timestamp() - $1 * interval '1 day'`, [
    keepDays,
  ])
}
