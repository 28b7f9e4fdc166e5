import type { Command } from 'commander'
import type { LetterKind } from '../../app/all-letters.ts'
import type { App } from '../../app/open.ts'
import { MigrateError } from '../../errors.ts'
import type { CommandContext } from '../command.ts'

export interface LetterOptions {
  readonly kind?: string
  readonly service?: string
}

export interface ChoiceOptions extends LetterOptions {
  readonly all?: true
  readonly dryRun?: true
}

/** Options of a command that settles letters. */
export function choiceOptions(command: Command): Command {
  return kindOption(command.argument('[ids...]', 'numbers of the letters'))
    .option('--service <name>', 'only letters of this service; each service numbers the letters of its consumers')
    .option('--all', 'all that are open')
    .option('--dry-run', 'say what would be done')
}

export function kindOption(command: Command): Command {
  return command.option(
    '--kind <kind>',
    'dual-write (second legs) or consumer (messages); without it dual-write, where no service has consumers',
  )
}

/** What is meant, before anything is contacted. Throws USAGE. */
export function requireChoice(ids: readonly string[], options: ChoiceOptions, command: string): void {
  requireKind(options, command)
  if (ids.length === 0 && options.all !== true) throw usage('name letters, or --all', command)
  if (ids.length > 0 && options.all === true) throw usage('name letters or --all, not both', command)
  requireIds(ids, command)
}

/** Throws USAGE: the sync has nothing to show or settle. */
export function requireKind({ kind }: LetterOptions, command: string): void {
  if (readKind(kind, command) === 'sync') throw usage(`there are no letters of this kind: ${NO_SYNC_LETTERS}`, command)
}

/** Null = none is said. Throws USAGE. */
export function readKind(kind: string | undefined, command: string): LetterKind | null {
  if (kind === undefined || kind === 'sync' || kind === 'dual-write' || kind === 'consumer') return kind ?? null
  throw usage('--kind must be sync, dual-write or consumer', command)
}

export const NO_SYNC_LETTERS = 'the sync stops with a typed error instead, and passes nothing over'

export function requireIds(ids: readonly string[], command: string): void {
  if (!ids.every((id) => /^[1-9]\d{0,17}$/.test(id))) throw usage('a dead letter is named by its number', command)
}

/** The service whose consumers are meant; null: second legs are. Throws DEAD_LETTER_KIND, DEAD_LETTER_SERVICE … */
export async function consumersMeant(app: App, { kind, service }: LetterOptions): Promise<string | null> {
  if (kind === 'dual-write') return null
  if (kind === 'consumer') {
    const { consumerService } = await import('../../app/consumer-letters.ts')
    return await consumerService(app, service ?? null)
  }
  const { requireNoConsumers } = await import('../../app/all-letters.ts')
  await requireNoConsumers(app, service ?? null)
  return null
}

/** The alert is over with the last open letter. */
export async function alertsOf({ output }: CommandContext, app: App) {
  const { openAlerts } = await import('../../app/alerts.ts')
  return openAlerts(app, output.note)
}

export async function open({ loadConfig }: CommandContext): Promise<App> {
  const { openApp } = await import('../../app/open.ts')
  return openApp(await loadConfig(), 'dlq')
}

export function usage(reason: string, command: string): MigrateError {
  return new MigrateError('USAGE', { reason, command: `migrate ${command}` })
}
