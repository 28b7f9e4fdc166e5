// Builds, runs all tests, and says in the last line how many there were. Arguments go to vitest: `npm test -- users`.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')

process.exitCode = await test()

async function test(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'migrate-test-'))
  const report = join(folder, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const vitest = [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', ...reporters, ...process.argv.slice(2)]

  const built = await run([join(ROOT, 'scripts/build.ts')])
  const ok = built && (await run(vitest))
  const { passed, failed, skipped } = tally(read(report), ok)
  rmSync(folder, { recursive: true, force: true })
  console.log(`tests: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return ok && failed === 0 && passed > 0 ? 0 : 1
}

/** What vitest's JSON reporter writes, as far as it is read here. */
interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly { status: string }[] }[]
}

interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** A file that could not be loaded, an error outside of every test and a crash count as a failure too. */
function tally(report: Report | null, ok: boolean): Tally {
  if (report === null) return { passed: 0, failed: 1, skipped: 0 }
  const broken = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  )
  const failed = report.numFailedTests + broken.length
  const skipped = report.numPendingTests + report.numTodoTests
  return { passed: report.numPassedTests, failed: ok ? failed : Math.max(1, failed), skipped }
}

function read(path: string): Report | null {
  try {
    const report: Report = JSON.parse(readFileSync(path, 'utf8'))
    return report
  } catch {
    // vitest ended before it wrote one: the caller counts that as a failure
    return null
  }
}

async function run(args: readonly string[]): Promise<boolean> {
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit' })
  const forward = (signal: NodeJS.Signals) => child.kill(signal)
  process.on('SIGTERM', forward)
  // The terminal sends ^C to the child as well; staying alive is what lets this process print its last line.
  process.on('SIGINT', () => undefined)
  const { promise, resolve } = Promise.withResolvers<boolean>()
  child.once('error', () => resolve(false))
  child.once('close', (code) => resolve(code === 0))
  try {
    return await promise
  } finally {
    process.off('SIGTERM', forward)
  }
}
