import { MigrateError } from '../errors.ts'

/** The parts of `127.0.0.1:8080` or `[::1]:8080`. Throws USAGE. */
export function addressOf(text: string, command: string): { host: string; port: number } {
  const match = /^(\[[\da-fA-F:]+\]|[\w.-]+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match === null || port > 65_535) {
    const reason = '--listen takes HOST:PORT, for example 127.0.0.1:8080'
    throw new MigrateError('USAGE', { reason, command: `migrate ${command}` })
  }
  return { host: (match[1] as string).replace(/^\[|\]$/g, ''), port }
}
