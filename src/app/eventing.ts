import { serviceOf } from '../config/service.ts'
import { MigrateError } from '../errors.ts'
import type { Database } from '../model/sql.ts'
import type { App } from './open.ts'

/** The service's database, which has this table of schema `eventing`. Throws EVENTING_MISSING. */
export async function eventingOf(app: App, service: string, table: 'event_store' | 'saga'): Promise<Database> {
  serviceOf(app.config, service)
  const database = app.service(service)
  const { rows } = await database.query<{ there: boolean }>(`select to_regclass($1) is not null as there`, [
    `eventing.${table}`,
  ])
  if (rows[0]?.there !== true) throw new MigrateError('EVENTING_MISSING', { service })
  return database
}
