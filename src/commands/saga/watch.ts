import type { App } from '../../app/open.ts'
import { watchSaga } from '../../app/sagas.ts'
import type { SagaDetails } from '../../saga/read.ts'
import { sagaView } from '../../ui/saga-view.ts'
import type { CommandContext } from '../command.ts'
import { openLiveArea } from '../live.ts'
import { tellOutage } from '../outage.ts'
import { type TimelineLine, timelineLine, timelineOf } from './timeline.ts'

/**
 * Draws a saga until it has ended, is stuck, or the signal aborts, also through an outage. Where there is no terminal it
 * prints its story instead: `told` lines.
 */
export async function watch(
  app: App,
  service: string,
  id: string,
  { output, signal }: Pick<CommandContext, 'output' | 'signal'>,
): Promise<{ readonly saga: SagaDetails; readonly told: number }> {
  using live = await openLiveArea(output)
  const { colors } = output
  const outage = tellOutage(output, live)
  let told = 0
  const saga = await watchSaga(app, service, id, {
    signal,
    onLook(seen) {
      outage.over()
      if (live === null) tell(timelineOf(seen))
      else live.show(() => [...sagaView(seen, colors), ...outage.lines().flatMap((line) => ['', line])])
      return seen.endedAt !== null || seen.status === 'STUCK' ? 'enough' : 'more'
    },
    onTrouble: (error) => outage.began(error),
  })
  live?.close('nothing')
  return { saga, told }

  function tell(lines: readonly TimelineLine[]): void {
    for (const line of lines.slice(told)) output.print({ event: 'entry', ...line }, timelineLine(line, colors))
    told = lines.length
  }
}
