import { MigrateError } from '../errors.ts'
import { nearest } from './nearest.ts'
import type { Config, ServiceConfig } from './schema.ts'

/** The configuration of one service. Throws SERVICE_UNKNOWN with the nearest name. */
export function serviceOf(config: Config, name: string): ServiceConfig {
  const service = Object.hasOwn(config.services, name) ? config.services[name] : undefined
  if (service !== undefined) return service
  const known = Object.keys(config.services)
  const close = nearest(name, known)
  throw new MigrateError('SERVICE_UNKNOWN', {
    service: name,
    suggestion: close === undefined ? '' : `. Did you mean "${close}"?`,
    known: known.join(', '),
  })
}
