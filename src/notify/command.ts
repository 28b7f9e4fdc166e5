import { spawn } from 'node:child_process'
import { MigrateError } from '../errors.ts'
import type { Message } from './message.ts'
import type { DeliveryOptions } from './target.ts'

/**
 * Runs the program, without a shell and with nothing of our environment but what is given, and writes the message to its
 * stdin. Killed with all it started at its timeout. Throws ALERT_UNDELIVERED, or ALERT_REFUSED when it cannot be run.
 */
export function runCommand(
  { command }: { readonly command: readonly string[] },
  message: Message,
  { timeout, env, signal }: DeliveryOptions,
): Promise<void> {
  const [program = '', ...args] = command
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const fail = (code: 'ALERT_UNDELIVERED' | 'ALERT_REFUSED', reason: string): void =>
    reject(new MigrateError(code, { target: program, reason }))

  const child = spawn(program, args, {
    // a group of its own: a shell script that is killed must not leave its children behind
    detached: true,
    env: { ...env, MIGRATE_ALERT: message.name, MIGRATE_ALERT_STATE: message.state, MIGRATE_SERVICE: message.service },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const end = (reason: string): void => {
    killGroup(child.pid)
    fail('ALERT_UNDELIVERED', reason)
  }
  const timer = setTimeout(() => end(`it did not end within ${timeout} ms`), timeout)
  const abort = (): void => end('this process ends')
  signal.addEventListener('abort', abort, { once: true })
  child.once('error', (error: NodeJS.ErrnoException) => fail('ALERT_REFUSED', error.code ?? error.message))
  child.once('exit', (code, killed) => {
    if (code === 0) resolve()
    else fail('ALERT_UNDELIVERED', `it ended with ${code ?? killed}`)
  })
  // a program that does not read its input may have ended before it was written
  child.stdin.on('error', () => undefined)
  child.stdin.end(`${JSON.stringify(message)}\n`)
  return promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    // it has ended in this very moment
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
