import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MigrateError } from '../errors.ts'
import type { SpoolFile } from '../sync/ports.ts'

/** Opens a file that has no name any more, so that nothing is left behind, however this process ends. Throws SPOOL_FAILED. */
export function openSpoolFile(folder = tmpdir()): SpoolFile {
  const file = failing(folder, () => {
    const own = mkdtempSync(join(folder, 'migrate-spool-'))
    try {
      return openSync(join(own, 'spool'), 'w+', 0o600)
    } finally {
      rmSync(own, { recursive: true, force: true })
    }
  })
  return {
    write(bytes) {
      failing(folder, () => {
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
      })
    },
    read(offset, into) {
      failing(folder, () => {
        for (let at = 0; at < into.length; ) {
          const read = readSync(file, into, at, into.length - at, offset + at)
          if (read === 0) throw new Error('the file is shorter than what was written')
          at += read
        }
      })
    },
    [Symbol.dispose]: () => closeSync(file),
  }
}

function failing<T>(folder: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new MigrateError('SPOOL_FAILED', { folder, reason }, { cause: error })
  }
}
