import { type Exit, type RunningProcess, startProcess } from '../../fixtures/servers/process.ts'
import { processState } from './process-state.ts'

/** A small program in `test/support/programs/` that uses the library as a service does. */
export interface Program {
  /** file name there, without `.ts` */
  readonly name: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** a line of stdout that says it is ready */
  readonly ready?: RegExp
  /** folder for its output */
  readonly logs: string
}

/** A failpoint that nobody comes to for so long is not there, milliseconds. */
const PATIENCE = 90_000
let started = 0

/** Starts the program; with `failpoint` it dies (or freezes) at that place, see src/config/failpoint.ts. */
export function startProgram(
  program: Program,
  failpoint?: { readonly name: string; readonly action?: 'kill' | 'stop' },
): Promise<RunningProcess> {
  const { name, args = [], env = {}, ready, logs } = program
  const file = new URL(`./programs/${name}.ts`, import.meta.url).pathname
  started += 1
  return startProcess({
    ...{ name, command: process.execPath, args: ['--disable-warning=ExperimentalWarning', file, ...args] },
    env: {
      PATH: process.env.PATH,
      ...env,
      ...(failpoint && { MIGRATE_FAILPOINT: `${failpoint.name}=${failpoint.action ?? 'kill'}` }),
    },
    ...(ready && { ready }),
    log: `${logs}/${name}-${started}.log`,
  })
}

/** Waits until a program that was started with a failpoint has died there. Throws when it ends otherwise, or not at all. */
export async function diedAt(running: RunningProcess, failpoint: string): Promise<void> {
  const ended = await Promise.race([running.exited, expired(PATIENCE)])
  if (ended?.signal === 'SIGKILL') return
  const how = ended === null ? 'it still runs' : `it ended with ${ended.code ?? ended.signal}`
  throw new Error(`${failpoint} was not reached: ${how}\n${said(running)}`)
}

/** Waits until a program that was started with action `stop` is frozen there. SIGCONT wakes it up. */
export async function frozenAt(running: RunningProcess, failpoint: string): Promise<void> {
  const deadline = Date.now() + PATIENCE
  while ((await processState(running.pid)) !== 'T') {
    if (Date.now() > deadline) throw new Error(`${failpoint} was not reached\n${said(running)}`)
    await expired(20)
  }
}

function said({ stdout, stderr }: RunningProcess): string {
  return [...stdout.all().slice(-10), ...stderr.all().slice(-20)].join('\n')
}

function expired(milliseconds: number): Promise<Exit | null> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(null), milliseconds).unref()
  })
}
