import type { App } from '../../app/open.ts'
import { MigrateError } from '../../errors.ts'
import type { CommandContext } from '../command.ts'

export async function open({ loadConfig }: CommandContext): Promise<App> {
  const [{ openApp }, config] = await Promise.all([import('../../app/open.ts'), loadConfig()])
  return openApp(config, 'saga')
}

export function usage(reason: string, command: string): MigrateError {
  return new MigrateError('USAGE', { reason, command: `migrate saga ${command}` })
}
