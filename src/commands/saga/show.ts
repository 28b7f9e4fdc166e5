import { defineCommand } from '../command.ts'
import { openLiveArea } from '../live.ts'
import type { SagaDetails } from '../../saga/read.ts'
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
    const { output, signal } = context
    const { sagaOf, watchSaga } = await import('../../app/sagas.ts')
    await using app = await open(context)
    let saga: SagaDetails
    let told = 0
    if (watch === true) {
      using live = await openLiveArea(output)
      saga = await watchSaga(app, service, {
        ...{ id, signal },
        onLook(seen) {
          const lines = timelineOf(seen)
          if (live === null) {
            for (const line of lines.slice(told))
              output.print({ event: 'entry', ...line }, timelineLine(line, output.colors))
            told = lines.length
          } else live.show(() => sagaView(seen, output.colors))
          return seen.endedAt !== null || seen.status === 'STUCK' ? 'enough' : 'more'
        },
      })
      live?.close('nothing')
    } else saga = await sagaOf(app, service, id)
    const nextSteps = nextStepsOf(saga, service)
    const data = { ...saga, timeline: timelineOf(saga) }
    context.output.result({ schema: 'migrate.saga/1', status: 'ok', data, nextSteps }, (ansi) => {
      // what was printed while it happened is not said again
      const lines = timelineOf(saga).map((line) => timelineLine(line, ansi))
      return told === 0 ? [...sagaView(saga, ansi), '', ...lines].join('\n') : ['', ...sagaView(saga, ansi)].join('\n')
    })
  },
})
