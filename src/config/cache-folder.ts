import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'

/** Where what can be made again stays: `monolith-migrate` in XDG_CACHE_HOME, or in ~/.cache. */
export function cacheFolder(): string {
  const given = process.env.XDG_CACHE_HOME ?? ''
  // Its specification has relative paths ignored.
  return join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'monolith-migrate')
}
