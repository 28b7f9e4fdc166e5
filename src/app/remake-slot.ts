import { serviceOf } from '../config/service.ts'
import { unfinishedRun } from '../control/journal.ts'
import { holderName, takeLease } from '../control/lease.ts'
import { MigrateError } from '../errors.ts'
import type { Direction } from '../model/progress.ts'
import { dropPublication, publish } from '../stores/postgres/arm.ts'
import { discardFrom } from '../stores/postgres/checkpoint.ts'
import { dropSlot, freeSlot, makeSlot } from '../stores/postgres/slot.ts'
import { type App, namesOf } from './open.ts'
import { sidesOf } from './sides.ts'
import { isOwed, lookAtSource } from './slot-fault.ts'
import { readTables } from './tables.ts'

/**
 * Makes the slot of a direction again that owes nothing: what it reads is dropped until a move starts it. No move may
 * run meanwhile, as its start token could be in the gap. False = something is owed after all; nothing was changed.
 */
export async function remakeSlot(app: App, name: string, direction: Direction, signal: AbortSignal): Promise<boolean> {
  const { moveLease } = namesOf(app.config, name)
  await using _lease = await takeLease(app.control, { name: moveLease, signal })
  if (await isOwed(app, name, direction)) return false
  const run = await unfinishedRun(app.control, name)
  if (run !== null) {
    // it is ended by the worker or the next move; then this is tried again
    const since = 'some seconds'
    throw new MigrateError('LOCKED', { what: moveLease, holder: `a broken-off ${run.kind}`, since, seconds: 0 })
  }
  const { source, target, slot, publication, pipeline } = sidesOf(app, name, direction)
  await freeSlot(source, slot)
  await dropSlot(source, slot)
  await dropPublication(source, publication)
  await publish(source, publication, await readTables(source, name, serviceOf(app.config, name)))
  const { systemIdentifier, timeline, publication: published } = await lookAtSource(app, name, direction)
  const at = await makeSlot(source, slot)
  const origin = { sourceSystem: systemIdentifier, sourceTimeline: timeline, publication: published.fingerprint }
  if (!(await discardFrom(target, { pipeline, at, ...origin })))
    throw new MigrateError('TAKEN_OVER', { what: pipeline })
  await app.control.query(`insert into migrate.audit (who, service, action, after) values ($1, $2, $3, $4)`, [
    holderName(),
    name,
    'make slot again',
    JSON.stringify({ direction, slot }),
  ])
  return true
}
