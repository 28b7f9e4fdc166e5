import { MigrateError } from '../errors.ts'

/** The number of an option. Throws USAGE, which names the command: `events read`. */
export function countOf(option: string, text: string, command: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new MigrateError('USAGE', { reason: `${option} takes a number from 1 on`, command: `migrate ${command}` })
}
