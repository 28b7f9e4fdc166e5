// Runs of the demo that are wrong on purpose, or ended in the middle.
import { describe, expect, test } from 'vitest'
import { expectNothingLeft, lookAround, startDemo, until, useDemoFolder } from '../support/demo-run.ts'
import { descendants, HAS_PROC, isRunning } from '../support/processes.ts'

useDemoFolder()

// the other kinds: fixtures/demo/saboteur.test.ts
test('--sabotage lose is found: exit 8; the story in lines for people', async () => {
  await using demo = await startDemo([
    '--small',
    '--moves',
    '0',
    '--dwell',
    '0.5',
    '--least-writes',
    '300',
    '--sabotage',
    'lose',
  ])
  const seen = await lookAround(demo)
  expect(await demo.exited).toEqual({ code: 8, signal: null })
  expect(demo.stdout.text()).toMatch(/✖ wrong: lost 1\b/)
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
