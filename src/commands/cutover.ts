import { defineCommand } from './command.ts'
import { type MoveCommandOptions, runMove } from './move.ts'

export const cutover = defineCommand<MoveCommandOptions>({
  name: 'cutover',
  summary: 'Move the write authority to the service: fence, drain, verify, switch, reverse sync',
  examples: ['migrate cutover users --dry-run', 'migrate cutover users', 'migrate cutover users --max-write-outage 2s'],
  configure: (command) =>
    command
      .argument('<service>', 'name of the service in the configuration')
      .option('--dry-run', 'print the gates and the very list of steps that would run')
      .option('--max-write-outage <time>', 'how long writes may be stopped, e.g. 3s'),
  run: (context, [name = ''], options) => runMove(context, name, 'cutover', options),
})
