import { readFile } from 'node:fs/promises'
import { MigrateError } from '../errors.ts'

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
}

/** Reads a text file that `at` asks for. Throws CONFIG_FILE_UNREADABLE, naming it as the user did. */
export async function readText(path: string, { at, file }: { at: string; file: string }): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = codeOf(error)
    throw new MigrateError('CONFIG_FILE_UNREADABLE', { at, file, reason: REASONS[code] ?? code }, { cause: error })
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
