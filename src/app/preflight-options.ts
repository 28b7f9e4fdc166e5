import type { Config } from '../config/schema.ts'
import { serviceOf } from '../config/service.ts'
import { namesOf, storeUrl } from './open.ts'

/** What the checks of a service need to know from the configuration. Throws SERVICE_UNKNOWN. */
export function preflightOptions(config: Config, name: string, purpose: string) {
  const service = serviceOf(config, name)
  const slotsOf = (one: string): string[] => {
    const { slot, reverseSlot } = namesOf(config, one)
    return [slot, reverseSlot]
  }
  const applicationName = `migrate/${purpose}`
  return {
    service: name,
    tables: Object.keys(service.tables),
    monolithRole: config.monolith.role,
    serviceSlots: slotsOf(name),
    ownSlots: Object.keys(config.services).flatMap(slotsOf),
    connections: {
      monolith: { url: config.monolith.database, role: 'monolith', applicationName },
      target: { url: storeUrl(service), role: name, applicationName },
    },
  }
}
