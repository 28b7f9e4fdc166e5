import { serviceOf } from '../config/service.ts'
import type { Detached } from '../control/detached.ts'
import { MigrateError } from '../errors.ts'
import { formatLsn, type Lsn } from '../model/lsn.ts'
import type { Direction } from '../model/progress.ts'
import { formatSize } from '../model/size.ts'
import { readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { readOrigin, readSource } from '../stores/postgres/origin.ts'
import { faultOf, type Origin, type SlotFault, type SourceReading } from '../sync/slot-fault.ts'
import type { App } from './open.ts'
import { sidesOf } from './sides.ts'
import { readTables } from './tables.ts'

export interface Examined {
  readonly fault: SlotFault | null
  readonly origin: Origin
  /** seconds since the checkpoint has moved */
  readonly age: number
  readonly reading: SourceReading
}

/** Can this direction go on from its checkpoint? Nobody may move the checkpoint meanwhile. */
export async function examineSource(app: App, name: string, direction: Direction, at: Lsn): Promise<Examined> {
  const { target, pipeline } = sidesOf(app, name, direction)
  const origin = await readOrigin(target, pipeline)
  if (origin === null) throw new MigrateError('INTERNAL', { reason: `no checkpoint of ${pipeline}` })
  const reading = await lookAtSource(app, name, direction)
  return { fault: faultOf(reading, origin, { earliest: at, latest: at }), origin, age: origin.age, reading }
}

/**
 * What the server says when a stream cannot go on names a file or a slot; this finds out what has become of the source.
 * Null = nothing: the error is another one. Nobody may write to the target meanwhile.
 */
export async function explainFailure(
  app: App,
  name: string,
  direction: Direction,
  from: Lsn,
): Promise<{ readonly fault: SlotFault; readonly at: Lsn } | null> {
  const { target, pipeline } = sidesOf(app, name, direction)
  const reading = await lookAtSource(app, name, direction)
  const [origin, checkpoint] = [await readOrigin(target, pipeline), await readCheckpoint(target, pipeline)]
  if (origin === null || checkpoint === null) return null
  const at = checkpoint.commitLsn
  const fault = faultOf(reading, origin, { earliest: from, latest: at })
  return fault === null ? null : { fault, at }
}

export async function lookAtSource(app: App, name: string, direction: Direction): Promise<SourceReading> {
  const { source, sourceRole, slot, publication } = sidesOf(app, name, direction)
  const tables = await readTables(source, name, serviceOf(app.config, name))
  return readSource(source, { role: sourceRole, slot, publication }, tables)
}

/**
 * Does this direction owe the target anything? Only the side with the write authority has changes that the other must
 * get; what the other way reads is dropped.
 */
export async function isOwed(app: App, name: string, direction: Direction): Promise<boolean> {
  const { side } = await readAuthority(app.monolith, name)
  return side === (direction === 'forward' ? 'monolith' : 'service')
}

/** What a fault means for the user: exit 8, and what is the way on. */
export function faultError(app: App, name: string, direction: Direction, fault: SlotFault, at: Lsn): MigrateError {
  const { sourceRole: role, slot, publication } = sidesOf(app, name, direction)
  const error = errorOf(fault, { service: name, role, slot, publication, position: formatLsn(at) })
  return direction === 'forward' ? error : wayBackLost(name, error, at)
}

/** A slot that was given up, as the next commands tell it. */
export function detachedError(app: App, detached: Detached & { readonly at: string }): MigrateError {
  const { service, direction, slot, position, retained, limit, at } = detached
  const error = new MigrateError('SLOT_DETACHED', {
    ...{ service, slot, at, role: sidesOf(app, service, direction).sourceRole },
    ...{ retained: formatSize(retained), limit: formatSize(limit), position: formatLsn(position) },
  })
  return direction === 'forward' ? error : wayBackLost(service, error, position)
}

function wayBackLost(service: string, cause: MigrateError, at: Lsn): MigrateError {
  return new MigrateError('WAY_BACK_LOST', { service, reason: cause.message, position: formatLsn(at) }, { cause })
}

function errorOf(
  fault: SlotFault,
  names: { service: string; role: string; slot: string; publication: string; position: string },
): MigrateError {
  switch (fault.kind) {
    case 'other-server':
      return new MigrateError('SERVER_CHANGED', { ...names, found: fault.found, expected: fault.expected })
    case 'other-timeline':
      return new MigrateError('TIMELINE_CHANGED', {
        ...names,
        detail: `it is on timeline ${fault.found}, expected ${fault.expected}`,
      })
    case 'rewound': {
      const detail = `its log ends at ${formatLsn(fault.walEnd)}, before ${names.position}, which was read from it`
      return new MigrateError('TIMELINE_CHANGED', { ...names, detail })
    }
    case 'slot-gone':
      return new MigrateError('SLOT_LOST', names)
    case 'slot-invalid':
      return new MigrateError('SLOT_LOST', { ...names, slot: `${names.slot} (${fault.walStatus})` })
    case 'slot-ahead':
      return new MigrateError('SLOT_RECREATED', { ...names, confirmed: formatLsn(fault.confirmed) })
    case 'publication': {
      const { missing } = fault
      return new MigrateError('PUBLICATION_LOST', {
        ...names,
        detail: missing.length === 0 ? '' : ` (it lacks ${missing.join(', ')})`,
      })
    }
  }
}
