import { defineCommand } from './command.ts'
import { type MoveCommandOptions, runMove } from './move.ts'

export const rollback = defineCommand<MoveCommandOptions>({
  name: 'rollback',
  summary: 'Move the write authority back to the monolith without losing a write',
  examples: ['migrate rollback users --dry-run', 'migrate rollback users', 'migrate rollback users --json'],
  configure: (command) =>
    command
      .argument('<service>', 'name of the service in the configuration')
      .option('--dry-run', 'print the gates and the very list of steps that would run')
      .option('--max-write-outage <time>', 'how long writes may be stopped, e.g. 3s'),
  run: (context, [name = ''], options) => runMove(context, name, 'rollback', options),
})
