import { MigrateError } from '../errors.ts'

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** Milliseconds of `500ms`, `90s`, `4m`, `1h`. Throws USAGE. */
export function durationOf(text: string | undefined, command: string): number | undefined {
  if (text === undefined) return undefined
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text)
  const value = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN)
  if (value > 0) return value
  throw new MigrateError('USAGE', {
    reason: `${text} is no time; write 500ms, 90s, 4m or 1h`,
    command: `migrate ${command}`,
  })
}
