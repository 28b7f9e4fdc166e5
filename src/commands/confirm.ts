import { createInterface } from 'node:readline/promises'
import { MigrateError } from '../errors.ts'
import type { Output } from './output.ts'

export interface Confirmation {
  /** what has to be typed, or given with --confirm */
  readonly name: string
  readonly given: string | undefined
  /** e.g. `replacing the rows of users` */
  readonly action: string
  readonly question: string
  readonly signal: AbortSignal
}

/** Asks for the name on a terminal; elsewhere --confirm must have it. Throws CONFIRMATION_MISSING. */
export async function confirmName(output: Output, confirmation: Confirmation): Promise<void> {
  const { name, given, action, question, signal } = confirmation
  const asked = given === undefined && output.terminal !== null && process.stdin.isTTY
  const answer = asked ? await ask(`${question}\nType ${name} to go on: `, signal) : given
  if (answer !== name) throw new MigrateError('CONFIRMATION_MISSING', { action, name })
}

async function ask(question: string, signal: AbortSignal): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await lines.question(question, { signal })).trim()
  } finally {
    lines.close()
  }
}
