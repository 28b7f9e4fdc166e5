import { serviceOf } from '../config/service.ts'
import { readDetached } from '../control/detached.ts'
import { installSchema } from '../control/install.ts'
import { readService } from '../control/services.ts'
import { MigrateError } from '../errors.ts'
import { DIRECTIONS } from '../model/progress.ts'
import type { Stage } from '../model/stage.ts'
import { within } from '../model/within.ts'
import { askResnapshot, resnapshotAsked } from '../stores/postgres/resnapshot.ts'
import { dropSlot, freeSlot, readSlot } from '../stores/postgres/slot.ts'
import { isInstalled } from './installed.ts'
import { type App, namesOf } from './open.ts'
import { sidesOf } from './sides.ts'
import { detachedError, isOwed } from './slot-fault.ts'

/** What leads from a stage to one in which nobody uses the rows of the service. */
const STEPS_BACK: Record<Stage, readonly string[]> = {
  off: [],
  sync: [],
  route: ['route set NAME --off'],
  'dual-write': ['dual-write NAME --off', 'route set NAME --off'],
  live: ['rollback NAME', 'dual-write NAME --off', 'route set NAME --off'],
  complete: [],
}

/** Throws RESNAPSHOT_REFUSED unless nobody reads or writes the service's rows, and SERVICE_UNKNOWN. */
export async function requireUnused(app: App, name: string): Promise<void> {
  serviceOf(app.config, name)
  if (!(await isInstalled(app.control, 'service'))) return
  const { stage } = await readService(app.control, name)
  if (stage === 'off' || stage === 'sync') return
  const commands = STEPS_BACK[stage].map((command) => `\`migrate ${command.replace('NAME', name)}\``).join(', then ')
  throw new MigrateError('RESNAPSHOT_REFUSED', { service: name, stage, commands: commands || 'there is no way back' })
}

/** Makes the wish to copy everything again durable; what follows may die at any point, and the next run goes on. */
export async function wishResnapshot(app: App, name: string, who: string): Promise<void> {
  await requireUnused(app, name)
  const target = app.service(name)
  await installSchema(target, ['target', 'service'])
  const { forward, reverseSlot } = namesOf(app.config, name)
  await askResnapshot(target, forward, who)
  // the way back has no use for the copy: it is made again behind it
  await freeSlot(target, reverseSlot)
  await dropSlot(target, reverseSlot)
  await app.control.query(`insert into migrate.audit (who, service, action) values ($1, $2, 'sync --resnapshot')`, [
    ...[who, name],
  ])
}

/** A target that hangs may be why the slot was given up: it is not waited for, milliseconds. */
const PATIENCE = 5_000

/** Throws what was said when a slot was given up, unless there is one again or the copy was asked for anew. */
export async function refuseDetached(app: App, name: string): Promise<void> {
  if (!(await isInstalled(app.control, 'detached'))) return
  for (const direction of DIRECTIONS) {
    const detached = await readDetached(app.control, name, direction)
    if (detached === null) continue
    const { source, slot, target, pipeline } = sidesOf(app, name, direction)
    if ((await readSlot(source, slot)) !== null || !(await isOwed(app, name, direction))) continue
    const asked = direction === 'forward' && (await within(wasAsked(), PATIENCE).catch(() => false))
    if (!asked) throw detachedError(app, detached)

    async function wasAsked(): Promise<boolean> {
      return (await isInstalled(target, 'resnapshot')) && (await resnapshotAsked(target, pipeline))
    }
  }
}
