import { MigrateError } from '../../errors.ts'
import type { Database } from '../../model/sql.ts'
import { sqlstate } from './translate.ts'

export interface Authority {
  readonly side: 'monolith' | 'service'
  readonly epoch: number
  /** 0n = open, else the fence's deadline in microseconds since 1970 */
  readonly fence: bigint
  /** by the server's clock */
  readonly closed: boolean
}

export async function readAuthority(monolith: Database, service: string): Promise<Authority> {
  const { rows } = await monolith.query<{ side: Authority['side']; epoch: number; fence: string; closed: boolean }>(
    `select state as side, epoch::float8 as epoch, migrate.fence_value(service)::text as fence,
       migrate.fence_value(service) > migrate.now_us() as closed
     from migrate.authority where service = $1`,
    [service],
  )
  const row = rows[0]
  if (row === undefined) throw new MigrateError('INTERNAL', { reason: `no authority row of ${service}` })
  return { ...row, fence: BigInt(row.fence) }
}

/**
 * Takes the fence in one autocommitted statement (no round trip under the lock: a frozen client would stop every
 * writer), when nobody who has passed the gate would make it wait: first a
 * look at who holds the lock, then tries of at most 200 ms. Returns the deadline. Throws FENCE_BUSY naming the holders.
 */
export async function takeFence(
  monolith: Database,
  service: string,
  run: number,
  milliseconds: number,
  signal: AbortSignal,
): Promise<bigint> {
  const giveUp = performance.now() + 2_000
  for (;;) {
    signal.throwIfAborted()
    const slow = await holders(monolith, service, 50)
    if (slow.length === 0) {
      try {
        const { rows } = await monolith.query<{ fence: string }>(
          `select migrate.fence($1, $2, $3 * interval '1 millisecond', $4)::text as fence`,
          [service, run, milliseconds, 'cutover'],
        )
        return BigInt(rows[0]?.fence ?? '0')
      } catch (error) {
        if (sqlstate(error) !== '55P03') throw refused(error, service)
      }
    }
    if (performance.now() > giveUp) {
      const blockers = slow.length > 0 ? slow : await holders(monolith, service, 0)
      throw new MigrateError('FENCE_BUSY', { service, blockers: blockers.join('; ') || 'too many short transactions' })
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Opens the gate again. False: a newer run has the fence, nothing was changed. */
export async function liftFence(monolith: Database, service: string, run: number): Promise<boolean> {
  const { rows } = await monolith.query<{ lifted: boolean }>(`select migrate.lift($1, $2) as lifted`, [service, run])
  return rows[0]?.lifted === true
}

/** The point of no return; then the gate is closed for good. Returns the new epoch. */
export async function switchAuthority(
  monolith: Database,
  service: string,
  run: number,
  fence: bigint,
  epoch: number,
): Promise<number> {
  const { rows } = await monolith
    .query<{ epoch: number }>(`select migrate.switch($1, $2, $3, $4)::float8 as epoch`, [
      service,
      run,
      fence.toString(),
      epoch,
    ])
    .catch((error: unknown) => {
      throw refused(error, service)
    })
  return rows[0]?.epoch ?? 0
}

export async function shutGate(monolith: Database, service: string): Promise<void> {
  await monolith.query(`select migrate.shut($1)`, [service])
}

/** The point of no return of a rollback. Returns the new epoch. */
export async function switchBack(monolith: Database, service: string, run: number, epoch: number): Promise<number> {
  const { rows } = await monolith
    .query<{ epoch: number }>(`select migrate.switch_back($1, $2, $3)::float8 as epoch`, [service, run, epoch])
    .catch((error: unknown) => {
      throw refused(error, service)
    })
  return rows[0]?.epoch ?? 0
}

/** A rollback is given up: a new epoch, before the service's gate may open again. */
export async function renewAuthority(
  monolith: Database,
  service: string,
  run: number,
  epoch: number,
  reversePipeline: string,
): Promise<number> {
  const { rows } = await monolith
    .query<{ epoch: number }>(`select migrate.renew($1, $2, $3, $4)::float8 as epoch`, [
      service,
      run,
      epoch,
      reversePipeline,
    ])
    .catch((error: unknown) => {
      throw refused(error, service)
    })
  return rows[0]?.epoch ?? 0
}

const REFUSALS = ['FENCED_BY_OTHER', 'NOT_MONOLITH', 'STALE_RUN', 'SWITCH_REFUSED']

function refused(error: unknown, service: string): unknown {
  const text = error instanceof MigrateError ? String(error.context.reason ?? '') : ''
  const reason = REFUSALS.find((code) => text.includes(code))
  if (reason === undefined) return error
  if (reason === 'STALE_RUN' || reason === 'FENCED_BY_OTHER') {
    return new MigrateError('TAKEN_OVER', { what: `the move of ${service}` }, { cause: error })
  }
  return new MigrateError('SWITCH_REFUSED', { service, reason }, { cause: error })
}

/** Transactions that have passed the gate and are older than so many milliseconds, as text for a person. */
async function holders(monolith: Database, service: string, olderThan: number): Promise<string[]> {
  const { rows } = await monolith.query<{ text: string }>(
    `select format('pid %s (%s, %s, open for %s ms): %s', a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'unnamed'),
         round(extract(epoch from clock_timestamp() - a.xact_start) * 1000), left(a.query, 60)) as text
     from pg_locks l join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'advisory' and l.granted and l.classid = 1835623282
       and l.objid = (hashtext($1)::bigint & 4294967295)::oid and l.objsubid = 2
       and a.xact_start < clock_timestamp() - $2 * interval '1 millisecond' and a.pid <> pg_backend_pid()
     order by a.xact_start limit 5`,
    [service, olderThan],
  )
  return rows.map((row) => row.text)
}
