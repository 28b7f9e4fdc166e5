import { asMigrateError, type ExitCode, type MigrateError } from '../errors.ts'
import { failureText } from '../ui/text.ts'
import type { Issue, Output } from './output.ts'

/** Prints what went wrong, as text on stderr or with --json as an envelope on stdout; returns the exit code. */
export function reportFailure(thrown: unknown, output: Output, verbose: boolean): ExitCode {
  const error = asMigrateError(thrown)
  const { exit } = error
  if (output.json) {
    output.result({ schema: 'migrate.error/1', status: 'error', data: null, issues: [issueOf(error)] }, () => '')
  } else {
    output.note(failureText({ code: error.code, message: error.message, hint: error.hint }, output.colors))
  }
  if (verbose) output.note(causes(error))
  return exit
}

/** An error as an envelope has it. */
export function issueOf(error: MigrateError): Issue {
  const { code, message, hint } = error
  const at = placeOf(error)
  return { code, severity: 'error', message, hint, ...(at && { at }) }
}

/** Errors of the configuration carry `at` = `file:line:column`. */
function placeOf({ context }: MigrateError): Issue['at'] | undefined {
  const match = /^(.*):(\d+):(\d+)$/.exec(String(context['at'] ?? ''))
  return match === null ? undefined : { file: match[1] ?? '', line: Number(match[2]), col: Number(match[3]) }
}

function causes(error: unknown): string {
  const lines: string[] = []
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    lines.push(`${lines.length === 0 ? '' : 'Caused by: '}${cause.stack ?? cause.message}`)
  }
  return lines.join('\n')
}
