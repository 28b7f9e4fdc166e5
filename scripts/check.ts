// Everything that can be said about the code without a server. One line a check; the output of those that fail.
import { spawn } from 'node:child_process'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const bin = (path: string) => join(ROOT, 'node_modules', path)

const STATIC: readonly Check[] = [
  { name: 'types', args: [bin('typescript/bin/tsc'), '--noEmit'] },
  { name: 'lint', args: [bin('oxlint/bin/oxlint')] },
  { name: 'format', args: [bin('@biomejs/biome/bin/biome'), 'format', '--reporter=summary', '.'] },
  { name: 'dead code', args: [bin('knip/bin/knip.js'), '--no-progress'] },
  { name: 'docs', args: ['scripts/docs.ts', '--check'] },
  { name: 'lockfile', args: ['scripts/lock.ts', '--check'] },
]
// On its own: tests that measure time do not share two cores with compilers.
const UNIT: Check = {
  name: 'unit tests',
  args: [bin('vitest/vitest.mjs'), 'run', '--project', 'unit', '--reporter', 'dot'],
}

process.exitCode = await check()

async function check(): Promise<number> {
  const outcomes = [...(await Promise.all(STATIC.map(run))), await run(UNIT)]
  for (const { name, output } of outcomes.filter(({ ok }) => !ok)) console.log(`\n── ${name}\n${output.trim()}`)
  return outcomes.every(({ ok }) => ok) ? 0 : 1
}

interface Check {
  readonly name: string
  readonly args: readonly string[]
}

interface Outcome {
  readonly name: string
  readonly ok: boolean
  readonly output: string
}

async function run({ name, args }: Check): Promise<Outcome> {
  const started = performance.now()
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const { promise, resolve } = Promise.withResolvers<boolean>()
  child.once('error', (error) => {
    output += error.message
    resolve(false)
  })
  child.once('close', (code) => resolve(code === 0))
  const ok = await promise
  const seconds = ((performance.now() - started) / 1_000).toFixed(1)
  console.log(`${ok ? '✔ ok    ' : '✖ failed'}  ${name} (${seconds} s)`)
  return { name, ok, output }
}
