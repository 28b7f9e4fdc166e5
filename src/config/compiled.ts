import { mkdirSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { dirname, join } from 'node:path'
import { cacheFolder } from './cache-folder.ts'

/**
 * Keeps what is imported from here on compiled, for the next time: a fifth of what a short command takes. Not under /tmp,
 * where a folder may be anybody's. Without a place to write, or with NODE_DISABLE_COMPILE_CACHE=1, nothing is kept.
 */
export function keepCompiled(): void {
  try {
    const ours = cacheFolder()
    const compiled = join(ours, 'compiled')
    for (const folder of [dirname(ours), ours, compiled]) makeFolder(folder)
    enableCompileCache(compiled)
  } catch {
    // it is only slower
  }
}

/** Not `recursive`: under /proc, as the home of a service may be, Node would try for ever. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
