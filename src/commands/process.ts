import { environment } from '../config/environment.ts'
import { reportFailure } from './failure.ts'
import { COMMANDS } from './index.ts'
import { watchInterrupts } from './interrupt.ts'
import { createOutput, type Output } from './output.ts'
import { runProgram } from './program.ts'

/** Runs the command line of this process and sets its exit code; never ends it while stdout has something pending. */
export async function runProcess(proc: NodeJS.Process): Promise<void> {
  const env = environment()
  const argv = proc.argv.slice(2)
  const json = argv.includes('--json')
  const color = !argv.includes('--no-color') && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb'
  const live = env['TERM'] !== 'dumb' && (env['CI'] ?? '') === ''
  const output = createOutput(proc, { json, color, live })

  proc.on('uncaughtException', (error) => crash(proc, error, output))
  using interrupts = watchInterrupts(proc, (line) => output.note(line), Date.now)
  proc.exitCode = await runProgram(argv, { definitions: COMMANDS, output, interrupts, env })
  // Connections to a server that hangs must not keep a finished command alive; one that ends by itself ends before.
  proc.stdout.write('', () => setTimeout(() => proc.exit(), LINGER_MS).unref())
}

const LINGER_MS = 2_000

/** Something threw outside of every await: what the process holds is unknown, so it says so and ends. */
function crash(proc: NodeJS.Process, error: Error, output: Output): void {
  output.detach()
  const code = reportFailure(error, output, true)
  proc.stdout.write('', () => proc.exit(code))
}
