import { serviceOf } from '../config/service.ts'
import { installSchema } from '../control/install.ts'
import { changeService, readService } from '../control/services.ts'
import { holderName } from '../control/lease.ts'
import { armTables, publish, unpublished } from '../stores/postgres/arm.ts'
import { readServer, type TableInfo } from '../stores/postgres/catalogue.ts'
import { createCheckpoint, readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { quoteLiteral } from '../stores/postgres/identifier.ts'
import { type Finding, preflight } from '../stores/postgres/preflight.ts'
import { enrolServiceGate } from '../stores/postgres/service-gate.ts'
import { dropSlot, freeSlot, readSlot } from '../stores/postgres/slot.ts'
import { type CopyProgress, copyTables } from '../stores/postgres/snapshot.ts'
import { MigrateError } from '../errors.ts'
import { asLsn, formatLsn } from '../model/lsn.ts'
import { preflightOptions } from './preflight-options.ts'
import { type App, installControl, namesOf, storeUrl } from './open.ts'
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
 * Before the first copy the publication is made; after it, one that is gone or lacks a table means that changes are
 * missing from the stream: making it again would hide that. Throws SLOT_LOST.
 */
async function publishOnce(app: App, name: string, tables: readonly TableInfo[]): Promise<void> {
  const { publication, forward } = namesOf(app.config, name)
  const checkpoint = await readCheckpoint(app.service(name), forward)
  if (checkpoint === null) return publish(app.monolith, publication, tables)
  const missing = await unpublished(app.monolith, publication, tables)
  if (missing.length === 0) return
  const slot = `${publication} (its publication lacks ${missing.join(', ')})`
  throw new MigrateError('SLOT_LOST', { slot, position: formatLsn(checkpoint.commitLsn), service: name })
}

/** Copies the tables unless that is done: slot, snapshot, rows and checkpoint. A copy that broke off starts again. */
export async function copyService(
  app: App,
  name: string,
  told: { copied(table: string, rows: number): void; copying(progress: CopyProgress): void },
  signal: AbortSignal,
): Promise<void> {
  const names = namesOf(app.config, name)
  const target = app.service(name)
  if ((await readCheckpoint(target, names.forward)) === null) {
    // a slot without a checkpoint is what a copy that broke off left behind
    await freeSlot(app.monolith, names.slot)
    await dropSlot(app.monolith, names.slot)
    const config = serviceOf(app.config, name)
    const [sources, targets] = await Promise.all([
      readTables(app.monolith, name, config),
      readTables(target, name, config),
    ])
    const applicationName = `migrate/${names.forward}/copy`
    await copyTables({
      source: { url: app.config.monolith.database, role: 'monolith', applicationName },
      target: { url: storeUrl(config), role: name, applicationName },
      slot: names.slot,
      pipeline: names.forward,
      sourceSystem: (await readServer(app.monolith)).systemIdentifier,
      tables: sources.map((source, i) => ({ source, target: targets[i] ?? source })),
      onTable: (table, rows) => told.copied(table, rows),
      onRows: (progress) => told.copying(progress),
      signal,
    })
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
  if ((await readSlot(target, names.reverseSlot)) !== null) {
    await freeSlot(target, names.reverseSlot)
    await dropSlot(target, names.reverseSlot)
  }
  const { rows } = await target.query<{ at: string }>(
    `select (lsn - '0/0')::text as at from pg_create_logical_replication_slot(${quoteLiteral(names.reverseSlot)}, 'pgoutput')`,
  )
  await createCheckpoint(app.monolith, {
    pipeline: names.reverse,
    state: 'discard',
    at: asLsn(BigInt(rows[0]?.at ?? '0')),
    sourceSystem: (await readServer(target)).systemIdentifier,
  })
}

async function currentUser(database: { query: App['monolith']['query'] }): Promise<string> {
  const { rows } = await database.query<{ me: string }>(`select session_user as me`)
  return rows[0]?.me ?? ''
}
