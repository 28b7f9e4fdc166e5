import type { Live } from '../ui/live.ts'
import type { Output } from './output.ts'

/** The live area of a terminal, or null where lines have to do. Closes with the result, or when disposed. */
export async function openLiveArea(output: Output): Promise<(Live & Disposable) | null> {
  const { terminal } = output
  if (terminal === null) return null
  const { openLive } = await import('../ui/live.ts')
  const live = openLive(terminal as NodeJS.WriteStream)
  output.attach(live)
  return { ...live, [Symbol.dispose]: () => output.detach() }
}
