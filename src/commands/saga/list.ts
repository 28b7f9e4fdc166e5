import { defineCommand } from '../command.ts'
import { countOf } from '../count.ts'
import type { NextStep } from '../output.ts'
import { open, usage } from './open.ts'
import { listText } from './text.ts'

const STATUSES = ['RUNNING', 'COMPENSATING', 'STUCK', 'DONE', 'COMPENSATED', 'STRANDED']

export const list = defineCommand<{ status?: string[]; name?: string; limit: string }>({
  name: 'list',
  summary: 'Print sagas, the newest first',
  examples: [
    'migrate saga list orders',
    'migrate saga list orders --status STUCK STRANDED',
    'migrate saga list orders --name CreateOrder --limit 200 --json',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'the service')
      .option('--status <status...>', `only these: ${STATUSES.join(', ')}`)
      .option('--name <name>', 'only sagas of this definition')
      .option('--limit <count>', 'at most so many', '50'),
  async run(context, [service = ''], { status, name, limit }) {
    const statuses = status?.map((each) => each.toUpperCase()) ?? null
    const wrong = statuses?.find((each) => !STATUSES.includes(each))
    if (wrong !== undefined) throw usage(`--status takes ${STATUSES.join(', ')}, not ${wrong}`, 'list')
    const most = countOf('--limit', limit, 'saga list')
    const { sagasOf } = await import('../../app/sagas.ts')
    await using app = await open(context)
    const sagas = await sagasOf(app, service, { statuses, name: name ?? null, limit: most })
    const stuck = sagas.find((saga) => saga.status === 'STUCK')
    const nextSteps: NextStep[] =
      stuck === undefined
        ? []
        : [{ cmd: `migrate saga show ${service} ${stuck.id}`, why: 'see why it is stuck, and what can be done' }]
    context.output.result({ schema: 'migrate.saga-list/1', status: 'ok', data: { sagas }, nextSteps }, (ansi) =>
      listText(sagas, ansi),
    )
  },
})
