import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The compiled program, as npm installs it. */
export const CLI = join(import.meta.dirname, '../../dist/src/cli.js')

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** from the start of the process to its end */
  readonly milliseconds: number
}

/** Runs a command as a user would, outside of any terminal; `env` is its whole environment. */
export async function migrate(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  node: readonly string[] = [],
): Promise<CliResult> {
  const started = performance.now()
  const child = spawn(process.execPath, [...node, CLI, ...args], {
    cwd: tmpdir(),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [code, stdout, stderr] = await Promise.all([exitCode(child), textOf(child.stdout), textOf(child.stderr)])
  return { code, stdout, stderr, milliseconds: performance.now() - started }
}

/**
 * What a command takes from start to end, in milliseconds: the best of up to three runs, until one is under the limit.
 * On a machine that is busy with other things the time on the processor counts.
 */
export async function fastest(limit: number, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let run = 0; run < 3 && least >= limit; run++) {
    const started = performance.now()
    const child = spawn(process.execPath, ['--import', TELL_CPU, CLI, ...args], {
      env,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
    const cpu = textOf(child.stdio[3] as NodeJS.ReadableStream)
    await exitCode(child)
    least = Math.min(least, performance.now() - started, Number(await cpu))
  }
  return least
}

/** Says at the end, on descriptor 3, how many milliseconds the process was on a processor. */
const TELL_CPU = `data:text/javascript,import{writeSync}from"node:fs";process.on("exit",()=>{
  const{user,system}=process.cpuUsage();writeSync(3,String((user+system)/1000))})`.replaceAll('\n', '')

export async function exitCode(child: ReturnType<typeof spawn>): Promise<number | null> {
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  child.once('error', reject)
  return await promise
}

export async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let all = ''
  for await (const chunk of stream) all += chunk.toString()
  return all
}
