import { defineCommand } from '../command.ts'
import { open } from './open.ts'
import { locksText } from './text.ts'

export const locks = defineCommand<object>({
  name: 'locks',
  summary: 'Print what sagas hold, and which wait behind them',
  examples: ['migrate saga locks orders', 'migrate saga locks orders --json', 'migrate saga locks payments'],
  configure: (command) => command.argument('<service>', 'the service'),
  async run(context, [service = '']) {
    const { locksOf } = await import('../../app/sagas.ts')
    await using app = await open(context)
    const found = await locksOf(app, service)
    const data = { locks: found.map((lock) => ({ ...lock, state: lock.before === 0 ? 'held' : 'waiting' })) }
    context.output.result({ schema: 'migrate.saga-locks/1', status: 'ok', data }, (ansi) => locksText(found, ansi))
  },
})
