import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { type RunningProcess, startProcess } from '../../fixtures/servers/process.ts'
import { CLI } from './cli.ts'
import { descendants, HAS_PROC, isListening, isRunning, type ProcessId } from './processes.ts'

let folder: string

/** The demo puts everything under TMPDIR, so that what it leaves there is its own. For the top of a file. */
export function useDemoFolder(): void {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'migrate-demo-'))
    await chmod(folder, 0o755)
  })
  afterAll(() => rm(folder, { recursive: true }))
}

const ROUTER = /load through the router at http:\/\/127\.0\.0\.1:(\d+)/

export interface Seen {
  readonly port: number | null
  readonly processes: ProcessId[]
}

let runs = 0
export function startDemo(args: readonly string[]): Promise<RunningProcess> {
  runs += 1
  return startProcess({
    ...{ name: 'demo', command: process.execPath, args: [CLI, 'demo', ...args] },
    env: { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: folder },
    log: join(folder, `demo-${runs}.log`),
    patience: 20_000,
  })
}

/** The router's port and all processes, once the load runs. */
export async function lookAround(demo: RunningProcess): Promise<Seen> {
  const match = (await Promise.race([demo.stdout.find(ROUTER), demo.stderr.find(ROUTER)])) as RegExpExecArray
  const port = Number(match[1])
  expect(await isListening(port)).toBe(true)
  const processes = HAS_PROC ? descendants(demo.pid) : []
  // three servers with their own children, three applications, a router, the load, the watcher
  if (HAS_PROC) expect(processes.length).toBeGreaterThan(18)
  return { port, processes }
}

export async function expectNothingLeft({ port, processes }: Seen): Promise<void> {
  expect(processes.filter(isRunning)).toEqual([])
  expect(port !== null && (await isListening(port))).toBe(false)
  // the binaries of PostgreSQL are kept for the next run, the logs are this test's
  const left = async (): Promise<string[]> =>
    (await readdir(folder)).filter((name) => !/^monolith-migrate-postgres-|^demo-\d+\.log$/.test(name))
  await until(async () => (await left()).length === 0)
}

/** The watcher of a killed demo is nobody's child: there is no event to wait for. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await condition())) {
    expect(Date.now()).toBeLessThan(deadline)
    await sleep(50)
  }
}
