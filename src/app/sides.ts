import { serviceOf } from '../config/service.ts'
import type { Direction } from '../model/progress.ts'
import type { Database } from '../model/sql.ts'
import { type App, namesOf, storeUrl } from './open.ts'

/** One direction of a service's sync: from where, to where, under which names. */
export interface Sides {
  readonly source: Database
  readonly sourceUrl: string
  /** 'monolith' or the name of the service */
  readonly sourceRole: string
  readonly target: Database
  readonly targetUrl: string
  readonly targetRole: string
  readonly slot: string
  readonly publication: string
  readonly pipeline: string
}

export function sidesOf(app: App, name: string, direction: Direction): Sides {
  const names = namesOf(app.config, name)
  const monolith = { database: app.monolith, url: app.config.monolith.database, role: 'monolith' }
  const service = { database: app.service(name), url: storeUrl(serviceOf(app.config, name)), role: name }
  const [source, target] = direction === 'forward' ? [monolith, service] : [service, monolith]
  return {
    source: source.database,
    sourceUrl: source.url,
    sourceRole: source.role,
    target: target.database,
    targetUrl: target.url,
    targetRole: target.role,
    ...(direction === 'forward'
      ? { slot: names.slot, publication: names.publication, pipeline: names.forward }
      : { slot: names.reverseSlot, publication: names.reversePublication, pipeline: names.reverse }),
  }
}
