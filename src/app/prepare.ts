import { failpoints } from '../config/failpoint.ts'
import { serviceOf } from '../config/service.ts'
import { forgetDetached } from '../control/detached.ts'
import { installSchema } from '../control/install.ts'
import { changeService, readService } from '../control/services.ts'
import { holderName } from '../control/lease.ts'
import { armTables, dropPublication, publish } from '../stores/postgres/arm.ts'
import type { TableInfo } from '../stores/postgres/catalogue.ts'
import { createCheckpoint, readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { readPublication } from '../stores/postgres/origin.ts'
import { type Finding, preflight } from '../stores/postgres/preflight.ts'
import { enrolServiceGate } from '../stores/postgres/service-gate.ts'
import { resnapshotAsked } from '../stores/postgres/resnapshot.ts'
import { dropSlot, freeSlot, makeSlot } from '../stores/postgres/slot.ts'
import { type CopyProgress, copyTables } from '../stores/postgres/snapshot.ts'
import { preflightOptions } from './preflight-options.ts'
import { type App, installControl, namesOf, storeUrl } from './open.ts'
import { faultError, isOwed, lookAtSource } from './slot-fault.ts'
import { readTables } from './tables.ts'

/** What must be changed before the service may be synced: errors only. Changes nothing. */
export async function checkService(app: App, name: string): Promise<Finding[]> {
  const options = preflightOptions(app.config, name, app.purpose)
  const { findings } = await preflight({
    ...options,
    monolith: { sql: app.monolith, connection: options.connections.monolith },
    target: { sql: app.service(name), connection: options.connections.target },
  })
  return findings.filter(({ severity }) => severity === 'error')
}

/** Schema, publication and gates, in this order: the gate is armed long before it is needed. May run again and again. */
export async function prepareService(app: App, name: string): Promise<void> {
  const config = serviceOf(app.config, name)
  const target = app.service(name)
  await installControl(app)
  await installSchema(target, ['target', 'service'])
  await app.monolith.query(`select migrate.enrol($1)`, [name])
  await enrolServiceGate(target, name)
  const tables = await readTables(app.monolith, name, config)
  await publishOnce(app, name, tables)
  const applyRole = await currentUser(app.monolith)
  await armTables(app.monolith, tables, { procedure: 'migrate.gate', service: name, applyRole })
  await armTables(target, await readTables(target, name, config), {
    procedure: 'migrate.service_gate',
    service: name,
    applyRole: await currentUser(target),
  })
}

/**
 * Before a copy the publication is made; after it, one that is gone or lacks a table means that changes are missing
 * from the stream: making it again would hide that. Throws PUBLICATION_LOST.
 */
async function publishOnce(app: App, name: string, tables: readonly TableInfo[]): Promise<void> {
  const { publication, forward } = namesOf(app.config, name)
  const target = app.service(name)
  const checkpoint = await readCheckpoint(target, forward)
  if (checkpoint === null || (await resnapshotAsked(target, forward))) {
    if (checkpoint !== null) await dropPublication(app.monolith, publication)
    return publish(app.monolith, publication, tables)
  }
  const { missing } = await readPublication(app.monolith, publication, tables)
  // what the authority has moved away from is made again by its worker
  if (missing.length === 0 || !(await isOwed(app, name, 'forward'))) return
  throw faultError(app, name, 'forward', { kind: 'publication', missing }, checkpoint.commitLsn)
}

/**
 * Copies the tables unless that is done: slot, snapshot, rows and checkpoint. A copy that broke off starts again, and so
 * does one that was asked for anew: in the place of the rows that are there.
 */
export async function copyService(
  app: App,
  name: string,
  told: { copied(table: string, rows: number): void; copying(progress: CopyProgress): void },
  signal: AbortSignal,
): Promise<void> {
  const names = namesOf(app.config, name)
  const target = app.service(name)
  const replace = await resnapshotAsked(target, names.forward)
  if (replace || (await readCheckpoint(target, names.forward)) === null) {
    const failpoint = failpoints()
    // a slot without a checkpoint is what a copy that broke off left behind
    await freeSlot(app.monolith, names.slot)
    await dropSlot(app.monolith, names.slot)
    await failpoint('sync.copy.slot-dropped')
    const config = serviceOf(app.config, name)
    const [sources, targets] = await Promise.all([
      readTables(app.monolith, name, config),
      readTables(target, name, config),
    ])
    const { systemIdentifier, timeline, publication } = await lookAtSource(app, name, 'forward')
    const applicationName = `migrate/${names.forward}/copy`
    await copyTables({
      source: { url: app.config.monolith.database, role: 'monolith', applicationName },
      target: { url: storeUrl(config), role: name, applicationName },
      slot: names.slot,
      pipeline: names.forward,
      ...{ sourceSystem: systemIdentifier, sourceTimeline: timeline, publication: publication.fingerprint },
      ...{ replace, failpoint, signal },
      tables: sources.map((source, i) => ({ source, target: targets[i] ?? source })),
      onTable: (table, rows) => told.copied(table, rows),
      onRows: (progress) => told.copying(progress),
    })
    await forgetDetached(app.control, name, 'forward')
  }
  const { stage } = await readService(app.control, name)
  if (stage === 'off') {
    await changeService(app.control, name, 'off', { stage: 'sync' }, { who: holderName(), action: 'sync' })
  }
}

/** The way back: publication and slot on the service's side, discarding until a cutover starts it. */
export async function prepareReverse(app: App, name: string): Promise<void> {
  const names = namesOf(app.config, name)
  const target = app.service(name)
  if ((await readCheckpoint(app.monolith, names.reverse)) !== null) return
  await publish(target, names.reversePublication, await readTables(target, name, serviceOf(app.config, name)))
  await freeSlot(target, names.reverseSlot)
  await dropSlot(target, names.reverseSlot)
  const { systemIdentifier, timeline, publication } = await lookAtSource(app, name, 'reverse')
  await createCheckpoint(app.monolith, {
    pipeline: names.reverse,
    state: 'discard',
    at: await makeSlot(target, names.reverseSlot),
    ...{ sourceSystem: systemIdentifier, sourceTimeline: timeline, publication: publication.fingerprint },
  })
}

async function currentUser(database: { query: App['monolith']['query'] }): Promise<string> {
  const { rows } = await database.query<{ me: string }>(`select session_user as me`)
  return rows[0]?.me ?? ''
}
