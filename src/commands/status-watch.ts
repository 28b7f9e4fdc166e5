import type { App } from '../app/open.ts'
import { readStatus, type StatusSnapshot } from '../app/status.ts'
import { changesOf, type StatusChange } from '../app/status-changes.ts'
import { asMigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import { plain } from '../ui/text.ts'
import type { CommandContext } from './command.ts'
import { openLiveArea } from './live.ts'
import { tellOutage } from './outage.ts'
import { statusText } from './status-text.ts'

const LOOK_EVERY = 1_000

/** Looks again and again until the signal: redraws a terminal, or tells what changes. Returns the last status. */
export async function watchStatus(
  app: App,
  only: string | null,
  { output, signal }: Pick<CommandContext, 'output' | 'signal'>,
): Promise<StatusSnapshot> {
  let snapshot = await readStatus(app, only)
  using live = await openLiveArea(output)
  const outage = tellOutage(output, live)
  if (live === null) output.print({ event: 'status', data: snapshot }, statusText(snapshot, output.colors))
  else live.show(() => [...statusText(snapshot, output.colors).split('\n'), ...outage.lines()])
  for (;;) {
    await pause(LOOK_EVERY, signal).catch(() => undefined)
    if (signal.aborted) {
      // the result says it all, on stdout
      live?.close('nothing')
      return snapshot
    }
    try {
      const before = snapshot
      snapshot = await readStatus(app, only)
      outage.over()
      if (live === null) for (const change of changesOf(before, snapshot)) tell(change)
    } catch (thrown) {
      const error = asMigrateError(thrown)
      if (error.retry !== 'timed') throw thrown
      outage.began(error)
    }
  }

  function tell({ service, what, from, to }: StatusChange): void {
    const text = from === null ? `${to}` : to === null ? `${from} → gone` : `${from} → ${to}`
    output.print({ event: 'change', service, what, from, to }, plain(`${service ?? 'routers'}  ${what}: ${text}`))
  }
}
