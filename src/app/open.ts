import type { Config, ServiceConfig } from '../config/schema.ts'
import { serviceOf } from '../config/service.ts'
import { installSchema } from '../control/install.ts'
import type { Database } from '../model/sql.ts'
import { type DatabaseOptions, openDatabase } from '../stores/postgres/database.ts'

/** The databases behind one configuration, opened when first used. Close it: `await using app = openApp(…)`. */
export interface App extends AsyncDisposable {
  readonly config: Config
  /** shown in pg_stat_activity as `migrate/<purpose>` */
  readonly purpose: string
  readonly monolith: Database
  /** the same object as `monolith` unless control.url is set */
  readonly control: Database
  /** for the calls of the gate: short lock waits, and a commit that does not wait for standbys */
  readonly gate: Database
  service(name: string): Database
  /** as `gate`, in the service's database */
  serviceGate(name: string): Database
}

/** Opens nothing yet: a wrong URL shows with the first statement. */
export function openApp(config: Config, purpose: string): App {
  const opened = new Map<string, Database>()
  const open = (key: string, url: string, role: string, more?: Partial<DatabaseOptions>): Database => {
    let database = opened.get(key)
    if (database === undefined) {
      database = openDatabase({ url, role, applicationName: `migrate/${purpose}`, ...more })
      opened.set(key, database)
    }
    return database
  }
  const monolithUrl = config.monolith.database
  return {
    config,
    purpose,
    get monolith() {
      return open('monolith', monolithUrl, 'monolith')
    },
    get control() {
      const { url } = config.control
      return url === undefined ? open('monolith', monolithUrl, 'monolith') : open('control', url, 'control', CONTROL)
    },
    get gate() {
      return open('gate', monolithUrl, 'monolith', { settings: GATE_SETTINGS })
    },
    service: (name) => open(`service ${name}`, storeUrl(serviceOf(config, name)), name),
    serviceGate: (name) => open(`gate ${name}`, storeUrl(serviceOf(config, name)), name, { settings: GATE_SETTINGS }),
    async [Symbol.asyncDispose]() {
      await Promise.all([...opened.values()].map((database) => database[Symbol.asyncDispose]()))
    },
  }
}

// Its statements are short. While writes are stopped nobody waits for a control server that hangs.
const CONTROL = { statementTimeout: 4_000, answerTimeout: 5_000 }
const GATE_SETTINGS = { lock_timeout: '200ms', synchronous_commit: 'local' }

/** Our schema in the monolith's database and the control database. */
export async function installControl(app: App): Promise<void> {
  await installSchema(app.monolith, app.control === app.monolith ? ['gate', 'control', 'target'] : ['gate', 'target'])
  if (app.control !== app.monolith) await installSchema(app.control, ['control'])
}

/** The URL of the service's PostgreSQL. */
export function storeUrl(service: ServiceConfig): string {
  return service.stores[0]?.url ?? ''
}

/** Names of slots, publications and pipelines of a service. */
export function namesOf(config: Config, service: string) {
  const base = `${config.project}_${service}`.replaceAll('-', '_')
  return {
    slot: `migrate_${base}`,
    publication: `migrate_${base}`,
    reverseSlot: `migrate_${base}_back`,
    reversePublication: `migrate_${base}_back`,
    forward: `${base}/forward`,
    reverse: `${base}/reverse`,
    /** lease of the sync worker */
    syncLease: `sync/${service}`,
    /** lease of everything that moves the service: dual-write, cutover, rollback */
    moveLease: `move/${service}`,
    reconcileLease: `reconcile/${service}`,
  }
}
