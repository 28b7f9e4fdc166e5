import { defineCommand } from '../command.ts'
import { sagaView } from '../../ui/saga-view.ts'
import { nextStepsOf } from './next.ts'
import { open } from './open.ts'
import { timelineLine, timelineOf } from './timeline.ts'

export const show = defineCommand<{ watch?: true }>({
  name: 'show',
  summary: 'Print one saga: its steps, and everything that has happened to it',
  examples: [
    'migrate saga show orders 0b5c7f8e',
    'migrate saga show orders 0b5c7f8e --watch',
    'migrate saga show orders 0b5c7f8e-0000-4000-8000-000000000001 --json',
  ],
  configure: (command) =>
    command
      .argument('<service>', 'the service')
      .argument('<id>', 'the saga; the beginning of its id is enough')
      .option('-w, --watch', 'go on until it has ended, is stuck, or ^C'),
  async run(context, [service = '', id = ''], { watch }) {
    const [{ sagaOf }, { watch: watchSaga }] = await Promise.all([import('../../app/sagas.ts'), import('./watch.ts')])
    await using app = await open(context)
    const { saga, told } =
      watch === true ? await watchSaga(app, service, id, context) : { saga: await sagaOf(app, service, id), told: 0 }
    const nextSteps = nextStepsOf(saga, service)
    const data = { ...saga, timeline: timelineOf(saga) }
    context.output.result({ schema: 'migrate.saga/1', status: 'ok', data, nextSteps }, (ansi) => {
      // what was printed while it happened is not said again
      const lines = timelineOf(saga).map((line) => timelineLine(line, ansi))
      return told === 0 ? [...sagaView(saga, ansi), '', ...lines].join('\n') : ['', ...sagaView(saga, ansi)].join('\n')
    })
  },
})
