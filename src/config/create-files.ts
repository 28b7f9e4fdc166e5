import { randomBytes } from 'node:crypto'
import { link, lstat, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { MigrateError } from '../errors.ts'
import { codeOf } from './read-text.ts'

export interface NewFile {
  readonly path: string
  readonly text: string | AsyncIterable<string>
  /** default: as the process makes files */
  readonly mode?: number
}

/** Throws FILE_EXISTS when something is already there under one of these names. */
export async function refuseExisting(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if (await isThere(path)) throw new MigrateError('FILE_EXISTS', { path })
  }
}

/**
 * Creates all of these files or none: each is complete when its name appears, and an existing one is never replaced.
 * A line is added to `append.path` when that file is there and lacks it. The last file of the list comes last, so that a
 * process that is killed leaves no such file. Resolves to what was written. Throws FILE_EXISTS and FILE_UNWRITABLE.
 */
export async function createFiles(
  files: readonly NewFile[],
  append: { readonly path: string; readonly line: string },
): Promise<string[]> {
  const undo: (() => Promise<unknown>)[] = []
  const made: string[] = []
  let at = append.path
  try {
    const added = await addLine(append)
    if (added !== null) {
      undo.push(added)
      made.push(append.path)
    }
    for (const file of files) {
      at = file.path
      await createFile(file)
      undo.push(() => rm(file.path, { force: true }))
      made.push(file.path)
    }
    return made
  } catch (error) {
    for (const step of undo.reverse()) await step()
    if (codeOf(error) === 'EEXIST') throw new MigrateError('FILE_EXISTS', { path: at }, { cause: error })
    throw new MigrateError('FILE_UNWRITABLE', { path: at, reason: codeOf(error) }, { cause: error })
  }
}

/**
 * Creates one file from parts as they come, complete when its name appears; an existing one is never replaced.
 * Throws FILE_EXISTS before the first part is asked for, FILE_UNWRITABLE, and what the parts throw.
 */
export async function createFileOf(file: NewFile): Promise<void> {
  const { path } = file
  await refuseExisting([path])
  try {
    await createFile(file)
  } catch (error) {
    if (error instanceof MigrateError) throw error
    if (codeOf(error) === 'EEXIST') throw new MigrateError('FILE_EXISTS', { path }, { cause: error })
    throw new MigrateError('FILE_UNWRITABLE', { path, reason: codeOf(error) }, { cause: error })
  }
}

/** Written under another name and linked: unlike a rename, a link never replaces. */
async function createFile({ path, text, mode = 0o666 }: NewFile): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeFile(draft, text, { flag: 'wx', mode })
    await link(draft, path)
  } finally {
    await rm(draft, { force: true })
  }
}

/** Resolves to what takes the line back, or null when there was nothing to add. */
async function addLine({ path, line }: { path: string; line: string }): Promise<(() => Promise<void>) | null> {
  if (!(await isThere(path))) return null
  const before = await readFile(path)
  const text = before.toString('utf8')
  const lines = text.split(/\r?\n/).map((found) => found.trim())
  if ([line, `/${line}`, `${line}*`, `*${line}`].some((form) => lines.includes(form))) return null
  const end = text.includes('\r\n') ? '\r\n' : '\n'
  await writeFile(path, `${text === '' || text.endsWith('\n') ? '' : end}${line}${end}`, { flag: 'a' })
  return () => truncate(path, before.length)
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return false
    throw new MigrateError('FILE_UNWRITABLE', { path, reason: codeOf(error) }, { cause: error })
  }
}
