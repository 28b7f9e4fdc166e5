// A command of migrate that stops at a failpoint, for something to happen meanwhile.
import type { Shop } from '../../fixtures/demo/shop.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { processState } from './process-state.ts'
import { eventually } from './two-sides.ts'

/** Starts `migrate KIND users` and waits until it is frozen at `KIND.PLACE`. */
export async function freezeAt(shop: Shop, kind: 'cutover' | 'rollback', place: string): Promise<Frozen> {
  const running = await shop.startCli([kind, 'users'], { MIGRATE_FAILPOINT: `${kind}.${place}=stop` })
  const ended = running.exited.then(({ code }) => {
    throw new Error(`it ended with ${code} before it came to ${place}: ${running.stdout.text()}`)
  })
  const frozen = eventually(
    () => processState(running.pid),
    (state) => state === 'T',
    30_000,
  )
  await Promise.race([frozen, ended])
  // its end is now the caller's business
  ended.catch(() => undefined)
  return {
    running,
    async wake() {
      running.child.kill('SIGCONT')
      const { code } = await running.exited
      return { code, stdout: running.stdout.text(), stderr: running.stderr.text() }
    },
  }
}

export interface Frozen {
  readonly running: RunningProcess
  /** lets it go on, to its end */
  wake(): Promise<{ code: number | null; stdout: string; stderr: string }>
}
