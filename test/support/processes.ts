import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'

/** Whether this machine tells about processes by files; without it nothing below can be asked. */
export const HAS_PROC = existsSync('/proc/self/stat')

/** A process, told from a later one with the same number. */
export interface ProcessId {
  readonly pid: number
  readonly born: string
}

/** Everything that descends from a process now, in whatever group or session it is. */
export function descendants(pid: number): ProcessId[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(Number(name)) ?? [])
  const below = (parent: number): Stat[] =>
    all.filter((stat) => stat.parent === parent).flatMap((stat) => [stat, ...below(stat.pid)])
  return below(pid).map(({ pid: child, born }) => ({ pid: child, born }))
}

/** Runs still; a zombie does not. */
export function isRunning({ pid, born }: ProcessId): boolean {
  const stat = statOf(pid)
  return stat !== null && stat.born === born && stat.state !== 'Z'
}

/** Whether somebody accepts connections there. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

interface Stat extends ProcessId {
  readonly parent: number
  readonly state: string
}

function statOf(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { pid, state: fields[0] ?? '', parent: Number(fields[1]), born: fields[19] ?? '' }
  } catch (error) {
    // it has ended between the listing and the look
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}
