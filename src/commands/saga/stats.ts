import { defineCommand } from '../command.ts'
import { open } from './open.ts'
import { statsText } from './text.ts'

export const stats = defineCommand<object>({
  name: 'stats',
  summary: 'Count sagas by definition and version, and name the processes that run them',
  examples: ['migrate saga stats orders', 'migrate saga stats orders --json', 'migrate saga stats payments'],
  configure: (command) => command.argument('<service>', 'the service'),
  async run(context, [service = '']) {
    const { statsOf } = await import('../../app/sagas.ts')
    await using app = await open(context)
    const found = await statsOf(app, service)
    const attention = found.sagas.some(({ stuck, stranded }) => stuck + stranded > 0)
    const nextSteps = attention
      ? [{ cmd: `migrate saga list ${service} --status STUCK,STRANDED`, why: 'see those that do not go on' }]
      : []
    context.output.result({ schema: 'migrate.saga-stats/1', status: 'ok', data: found, nextSteps }, (ansi) =>
      statsText(found, ansi),
    )
  },
})
