import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Verdict } from '../../fixtures/demo/verdict.ts'
import { type RunningProcess, startProcess } from '../../fixtures/servers/process.ts'
import { descendants, HAS_PROC, isListening, isRunning, type ProcessId } from '../support/processes.ts'

const CLI = join(import.meta.dirname, '../../dist/src/cli.js')

// The demo puts everything under TMPDIR, so that what it leaves there is its own.
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'migrate-demo-'))
  await chmod(folder, 0o755)
})
afterAll(() => rm(folder, { recursive: true }))

const ROUTER = /load through the router at http:\/\/127\.0\.0\.1:(\d+)/

test('takes the shop apart under load, loses nothing and leaves nothing', async () => {
  await using demo = await startDemo(['--small', '--json'])
  const seen = await lookAround(demo)
  // why, when it does not: the last command and what it printed
  expect(await demo.exited, [...demo.stdout.all().slice(-4), demo.stderr.text()].join('\n')).toEqual({
    code: 0,
    signal: null,
  })
  const lines = demo.stdout.all().map((line) => JSON.parse(line) as Line)
  expect(lines.at(-1)).toMatchObject({
    ...{ schema: 'migrate.demo/1', ok: true, status: 'ok', issues: [] },
    data: {
      ...{ verdict: 'ok', reasons: [], lost: 0, doubled: 0, staleReads: 0, failedRequests: 0, driftRows: 0 },
      details: [],
    },
  })
  const { acknowledged, outageMs } = (lines.at(-1) as unknown as { data: Verdict }).data
  expect(acknowledged).toBeGreaterThanOrEqual(1_000)
  for (const service of ['users', 'orders'] as const) expect(outageMs[service].max).toBeGreaterThan(0)
  expect(lines.slice(0, -1).every(({ event }) => event !== undefined)).toBe(true)
  const commands = lines.flatMap(({ command }) => command ?? [])
  // one that was given again, see `told` in fixtures/demo/walk.ts, counts once
  const steps = commands.filter((command, i) => command !== commands[i - 1])
  expect(steps.map((command) => command.split(' ')[1])).toEqual([
    ...['check', 'sync', 'sync', 'route', 'route', 'dual-write', 'dual-write', 'cutover'],
    ...['cutover', 'cutover', 'rollback', 'rollback', 'cutover', 'cutover', 'reconcile'],
  ])
  expect(demo.stderr.text()).toBe('')
  await expectNothingLeft(seen)
})

test.each([
  ['lose', /✖ wrong: lost 1\b/],
  ['double', /✖ wrong: doubled \d+/],
  ['stale', /✖ wrong: staleReads 1\b/],
])('--sabotage %s is found: exit 8; the story in lines for people', async (sabotage, verdict) => {
  await using demo = await startDemo([
    '--small',
    '--moves',
    '0',
    '--dwell',
    '0.5',
    '--least-writes',
    '300',
    '--sabotage',
    sabotage,
  ])
  const seen = await lookAround(demo)
  expect(await demo.exited).toEqual({ code: 8, signal: null })
  expect(demo.stdout.text()).toMatch(verdict)
  const story = demo.stderr.all().filter((line) => line !== '')
  expect(story.slice(-2)).toEqual([expect.stringMatching(/^✖ VERDICT_WRONG {2}/), expect.stringMatching(/^ {2}Do: /)])
  // a column of seconds, outcomes indented under their commands, findings by their kind, no empty lines, no colours
  for (const line of story.slice(0, -2))
    expect(line).toMatch(/^(?: *\d+ s {2} *| {10}| {2}(?:lost|doubled|stale|failed) )\S?/)
  expect(demo.stderr.text().trimEnd()).not.toMatch(/\n\n/)
  expect(demo.stdout.text() + demo.stderr.text()).not.toContain('\u001b')
  await expectNothingLeft(seen)
})

describe.skipIf(!HAS_PROC)('ended in the middle', () => {
  test('by ^C it exits 130 and leaves nothing', async () => {
    await using demo = await startDemo(['--small', '--json', '--dwell', '0.5'])
    const seen = await lookAround(demo)
    await demo.stdout.find(/"command":"migrate sync users"/)
    for (const id of descendants(demo.pid)) seen.processes.push(id)
    expect(await demo.stop('SIGINT')).toEqual({ code: 130, signal: null })
    expect(demo.stdout.all().at(-1)).not.toContain('"schema"')
    await expectNothingLeft(seen)
  })

  test('by SIGTERM while the servers start it exits 143', async () => {
    await using demo = await startDemo(['--small', '--json'])
    await demo.stdout.find(/"event":"stage"/)
    expect(await demo.stop('SIGTERM')).toEqual({ code: 143, signal: null })
    await expectNothingLeft({ port: null, processes: [] })
  })

  test('by kill -9 its servers, programs and folders go all the same', async () => {
    await using demo = await startDemo(['--small', '--json', '--dwell', '0.5'])
    const seen = await lookAround(demo)
    await demo.stdout.find(/"command":"migrate sync users"/)
    for (const id of descendants(demo.pid)) seen.processes.push(id)
    expect(await demo.kill9()).toEqual({ code: null, signal: 'SIGKILL' })
    await until(() => !seen.processes.some(isRunning))
    await expectNothingLeft(seen)
  })
})

test.each([
  ['--dwell', 'long'],
  ['--least-writes', ''],
])('%s %j is a usage error', async (option, value) => {
  await using demo = await startDemo([option, value])
  expect(await demo.exited).toEqual({ code: 2, signal: null })
  expect(demo.stderr.text()).toContain(`${option} takes a number`)
})

interface Line {
  readonly event?: string
  readonly command?: string
}

interface Seen {
  readonly port: number | null
  readonly processes: ProcessId[]
}

let runs = 0
function startDemo(args: readonly string[]): Promise<RunningProcess> {
  runs += 1
  return startProcess({
    ...{ name: 'demo', command: process.execPath, args: [CLI, 'demo', ...args] },
    env: { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: folder },
    log: join(folder, `demo-${runs}.log`),
    patience: 20_000,
  })
}

/** The router's port and all processes, once the load runs. */
async function lookAround(demo: RunningProcess): Promise<Seen> {
  const match = (await Promise.race([demo.stdout.find(ROUTER), demo.stderr.find(ROUTER)])) as RegExpExecArray
  const port = Number(match[1])
  expect(await isListening(port)).toBe(true)
  const processes = HAS_PROC ? descendants(demo.pid) : []
  // three servers with their own children, three applications, a router, the load, the watcher
  if (HAS_PROC) expect(processes.length).toBeGreaterThan(18)
  return { port, processes }
}

async function expectNothingLeft({ port, processes }: Seen): Promise<void> {
  expect(processes.filter(isRunning)).toEqual([])
  expect(port !== null && (await isListening(port))).toBe(false)
  // the binaries of PostgreSQL are kept for the next run, the logs are this test's
  const left = async (): Promise<string[]> =>
    (await readdir(folder)).filter((name) => !/^monolith-migrate-postgres-|^demo-\d+\.log$/.test(name))
  await until(async () => (await left()).length === 0)
}

/** The watcher of a killed demo is nobody's child: there is no event to wait for. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await condition())) {
    expect(Date.now()).toBeLessThan(deadline)
    await sleep(50)
  }
}
