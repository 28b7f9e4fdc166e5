import { expect, test } from 'vitest'
import type { Verdict } from '../../fixtures/demo/verdict.ts'
import { expectNothingLeft, lookAround, startDemo, useDemoFolder } from '../support/demo-run.ts'

useDemoFolder()

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
