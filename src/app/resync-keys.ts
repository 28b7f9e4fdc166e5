import { serviceOf } from '../config/service.ts'
import type { RowKey } from '../stores/postgres/compare.ts'
import { resync } from '../stores/postgres/resync.ts'
import { caughtUp } from './caught-up.ts'
import { type App, namesOf, storeUrl } from './open.ts'
import { readTables } from './tables.ts'

/** Makes the service's rows with these keys equal to the monolith's; see stores/postgres/resync. Returns how many. */
export async function resyncKeys(
  app: App,
  name: string,
  keys: readonly RowKey[],
  signal: AbortSignal,
): Promise<number> {
  if (keys.length === 0) return 0
  const config = serviceOf(app.config, name)
  const [monolith, service] = await Promise.all([
    readTables(app.monolith, name, config),
    readTables(app.service(name), name, config),
  ])
  return resync(
    {
      service: name,
      pipeline: namesOf(app.config, name).forward,
      monolith: app.monolith,
      url: storeUrl(config),
      tables: { monolith, service },
      caughtUp: () => caughtUp(app, name, signal),
    },
    keys,
  )
}
