import { EXIT, type ExitCode, MigrateError } from '../errors.ts'

const TWICE_MS = 3_000

/**
 * Turns SIGINT, SIGTERM and a closed stdout into one AbortSignal. A second ^C within 3 s ends the process at once:
 * control state is written by compare-and-set and leases run out by themselves, so that loses nothing.
 */
export function watchInterrupts(proc: SignalSource, say: (line: string) => void, now: () => number): Interrupts {
  const controller = new AbortController()
  let code: ExitCode | null = null
  let unwritable = false
  let lastInterrupt = Number.NEGATIVE_INFINITY

  const onInterrupt = () => {
    if (now() - lastInterrupt < TWICE_MS) proc.exit(EXIT.interrupted)
    lastInterrupt = now()
    say('Stopping in order; press ^C again within 3 s to stop at once.')
    stop(EXIT.interrupted)
  }
  const onTerminate = () => stop(EXIT.terminated)
  const onStdoutError = (error: NodeJS.ErrnoException) => {
    // The reader has gone (`| head`): nobody is left to tell, and that is no failure.
    if (error.code === 'EPIPE') return stop(EXIT.ok)
    // A full disk must not end a worker, but the answer is lost, and the exit code has to say so.
    if (unwritable) return
    unwritable = true
    const lost = new MigrateError('OUTPUT_UNWRITABLE', { reason: error.code ?? 'unknown' })
    say(`✖ ${lost.code}  ${lost.message}\n  Do: ${lost.hint}`)
    proc.once('exit', () => {
      proc.exitCode ||= lost.exit
    })
  }
  // Without stderr there is nowhere to complain to.
  const onStderrError = () => undefined

  proc.on('SIGINT', onInterrupt)
  proc.on('SIGTERM', onTerminate)
  proc.stdout.on('error', onStdoutError)
  proc.stderr.on('error', onStderrError)

  return {
    signal: controller.signal,
    get code() {
      return code
    },
    // The listeners of the streams stay: the last write may fail after the command has ended.
    [Symbol.dispose]() {
      proc.off('SIGINT', onInterrupt)
      proc.off('SIGTERM', onTerminate)
    },
  }

  function stop(exitCode: ExitCode): void {
    code ??= exitCode
    controller.abort()
  }
}

export interface Interrupts extends Disposable {
  readonly signal: AbortSignal
  /** the exit code of an orderly stop, once one was asked for */
  readonly code: ExitCode | null
}

interface SignalSource {
  on(event: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  once(event: 'exit', listener: () => void): unknown
  off(event: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  exit(code: number): void
  exitCode?: number | string | null | undefined
  readonly stdout: ErrorSource
  readonly stderr: ErrorSource
}

interface ErrorSource {
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown
}
