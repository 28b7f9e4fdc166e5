import type { Config } from '../config/schema.ts'
import { serviceOf } from '../config/service.ts'

/**
 * The mode of the service's gate during dual-write. `legs` lets through what `idempotent()` has checked; a service
 * without it has nothing that the gate could look at, so it is open: whoever logs in as the service may write, and the
 * sync writes over it.
 */
export function legsGate(config: Config, name: string): 'legs' | 'open' {
  return serviceOf(config, name).idempotent ? 'legs' : 'open'
}
