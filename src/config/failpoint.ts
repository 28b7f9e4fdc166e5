import { environment } from './environment.ts'

/**
 * For tests of crashes, ours and those of services: MIGRATE_FAILPOINT=`name=kill` or `name=stop` ends (SIGKILL) or freezes (SIGSTOP) this process when it
 * comes to the place of that name; several are separated by commas. Each fires once. Without the variable this is a no-op.
 */
export function failpoints(): (name: string) => Promise<void> {
  const wanted = new Map(
    (environment().MIGRATE_FAILPOINT ?? '').split(',').map((entry) => entry.split('=') as [string, string]),
  )
  return async (name) => {
    const action = wanted.get(name)
    if (action === undefined) return
    wanted.delete(name)
    process.kill(process.pid, action === 'kill' ? 'SIGKILL' : 'SIGSTOP')
    // the signal is handled before the next turn of the event loop ends
    await new Promise((resolve) => setImmediate(resolve))
  }
}
