import { serviceOf } from '../config/service.ts'
import type { Audit } from '../control/services.ts'
import { changeSyncControl, type SyncControl, type SyncControlChange } from '../control/sync-control.ts'
import { type App, installControl } from './open.ts'

/** Changes what a sync may do; a running worker obeys within a second. Throws SERVICE_UNKNOWN. */
export async function orderSync(app: App, name: string, change: SyncControlChange, audit: Audit): Promise<SyncControl> {
  serviceOf(app.config, name)
  await installControl(app)
  return changeSyncControl(app.control, name, change, audit)
}
