import { expect, test } from 'vitest'
import type { SyncProgress } from '../app/pipeline.ts'
import { createOutput } from './output.ts'
import { syncLines } from './sync-progress.ts'

const PROGRESS = { direction: 'forward', state: 'apply', lagBytes: 0, counters: { rows: 1 } } as SyncProgress

test('people hear of trouble once, and when it is over; programs of every try', () => {
  const [people, programs] = [open(false), open(true)]
  for (const { events } of [people, programs]) {
    events.following('forward')
    events.progress(PROGRESS)
    for (const reason of ['refused', 'refused', 'timed out']) {
      events.retrying('forward', new Error(reason))
      events.following('forward')
    }
    events.progress(PROGRESS)
    events.progress(PROGRESS)
  }
  expect(people.lines()).toEqual([
    'sync users      following forward',
    'sync users      forward: refused; trying again',
    'sync users      forward: timed out; trying again',
    'sync users      following forward again',
  ])
  const told = programs.lines().map((line) => JSON.parse(line) as { event: string; again?: boolean })
  expect(told.filter(({ event }) => event === 'retrying')).toHaveLength(3)
  expect(told.filter(({ again }) => again)).toHaveLength(1)
})

test('a table that is copied quickly is one line', () => {
  const { events, lines } = open(false)
  events.copying({ table: 'public.users', rows: 0, estimate: 10, number: 1, of: 2 })
  events.copying({ table: 'public.users', rows: 5, estimate: 10, number: 1, of: 2 })
  events.copied('public.users', 10)
  expect(lines()).toEqual(['sync users      copied public.users: 10 rows'])
})

function open(json: boolean) {
  let text = ''
  const stream = { write: (more: string) => (text += more) }
  const output = createOutput({ stdout: stream, stderr: stream }, { json, color: false })
  return { events: syncLines(output, 'users'), lines: () => text.trimEnd().split('\n') }
}
