import { MigrateError } from '../../errors.ts'
import type { Database } from '../../model/sql.ts'
import { sqlstate } from './translate.ts'

export type GateMode = 'closed' | 'legs' | 'open'

export async function enrolServiceGate(database: Database, service: string): Promise<void> {
  await database.query(
    `insert into migrate.gate (service, epoch, mode) values ($1, 0, 'closed') on conflict do nothing`,
    [service],
  )
}

export async function readServiceGate(database: Database, service: string) {
  const { rows } = await database.query<{ mode: GateMode; epoch: number }>(
    `select mode, epoch::float8 as epoch from migrate.gate where service = $1`,
    [service],
  )
  return rows[0] ?? null
}

/**
 * Changes the gate of the service's own database, waiting for transactions that have passed it: tries of 200 ms,
 * for at most 2 s. Throws TAKEN_OVER when a newer run or epoch was here, FENCE_BUSY when the wait is too long.
 */
export async function setServiceGate(
  database: Database,
  service: string,
  run: number,
  epoch: number,
  mode: GateMode,
): Promise<void> {
  const giveUp = performance.now() + 2_000
  for (;;) {
    try {
      const { rows } = await database.query<{ done: boolean }>(`select migrate.set_gate($1, $2, $3, $4) as done`, [
        service,
        run,
        epoch,
        mode,
      ])
      if (rows[0]?.done !== true) throw new MigrateError('TAKEN_OVER', { what: `the gate of ${service}` })
      return
    } catch (error) {
      if (sqlstate(error) !== '55P03') throw error
      if (performance.now() > giveUp) {
        const blockers = `a transaction of the service on its own tables does not end`
        throw new MigrateError('FENCE_BUSY', { service, blockers }, { cause: error })
      }
    }
  }
}
