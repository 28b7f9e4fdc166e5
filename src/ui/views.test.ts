import { describe, expect, test } from 'vitest'
import { demoView, renderDemo } from './demo-view.ts'
import type { Live, View } from './live.ts'
import { moveView } from './move-view.ts'
import { Rate } from './rate.ts'
import { type SagaSnapshot, sagaView } from './saga-view.ts'
import { syncView } from './sync-view.ts'
import { createColors } from './text.ts'

const none = createColors(false)

describe('the sync', () => {
  const table = { table: 'public.users', rows: 250, done: false, estimate: 1_000, perSecond: 50.4, left: 15 }
  const sync = { service: 'users', tables: [table], tablesLeft: 2, directions: [] }

  test('shows rows, speed and what is left', () => {
    expect(syncView(sync, none)).toEqual([
      '◌ public.users  250 █████░░░░░░░░░░░░░░░ 25 % of about 1,000  50 rows/s, about 15 s left',
      '  2 more table(s)',
    ])
  })

  test('promises no end that statistics cannot know', () => {
    expect(syncView({ ...sync, tables: [{ ...table, rows: 1_200 }] }, none)[0]).toContain(' 99 % of about 1,000')
    expect(syncView({ ...sync, tables: [{ ...table, estimate: 0, perSecond: null, left: null }] }, none)[0]).toBe(
      '◌ public.users  250 ',
    )
  })

  test('shows the lag, or what it tries again', () => {
    const forward = {
      direction: 'forward',
      state: 'apply',
      lagBytes: 2_048,
      rows: 12,
      perSecond: 3,
      trouble: null,
    } as const
    const trouble = { ...forward, direction: 'reverse', trouble: 'cannot\u001b[2J connect' } as const
    expect(syncView({ ...sync, directions: [forward, trouble] }, none)).toEqual([
      '✔ users forward  apply, lag 2.0 KiB, 12 row changes, 3 rows/s',
      '✖ users reverse  cannot connect; trying again',
    ])
  })

  test('gives names of the database no power over the terminal', () => {
    const [line = ''] = syncView({ ...sync, tables: [{ ...table, table: 'a\u001b]52;c;x\u0007b\u202ec' }] }, none)
    expect(line).toMatch(/^◌ abc {2}250/)
  })
})

describe('a move', () => {
  const gate = { name: 'lag', ok: true, measured: '0 B', comparator: '≤', threshold: '16 MiB' }
  const step = { name: 'hold', text: 'routers hold', stopsWrites: true, state: 'running', milliseconds: 12.4 } as const

  test('shows every gate that is closed, or that none is', () => {
    const move = { kind: 'cutover', service: 'users', steps: [] }
    expect(moveView({ ...move, gates: null }, none)).toEqual(['◌ cutover of users: looking at the gates'])
    expect(moveView({ ...move, gates: [gate] }, none)).toEqual(['✔ 1 gates met'])
    expect(moveView({ ...move, gates: [gate, { ...gate, ok: false, measured: '20 MiB' }] }, none)).toEqual([
      '✖ lag: 20 MiB, needed ≤ 16 MiB',
    ])
  })

  test('shows each step with its time, and while writes are stopped says so', () => {
    const states = ['done', 'running', 'failed', 'waiting'] as const
    const steps = states.map((state) => ({ ...step, state }))
    expect(moveView({ kind: 'cutover', service: 'users', gates: [], steps }, none).slice(1)).toEqual([
      '✔ hold                12 ms  routers hold',
      '◌ hold                12 ms  routers hold  writes are stopped',
      '✖ hold                12 ms  routers hold',
      '· hold                       routers hold',
    ])
  })
})

describe('the demo', () => {
  test('tells its story above, and its counters below', () => {
    const [lines, views]: [string[], View[]] = [[], []]
    const live: Live = { line: (text) => lines.push(text), show: (view) => views.push(view), close: () => undefined }
    let now = 0
    const demo = renderDemo(live, none, () => now)
    demo.stage('starting two servers')
    now = 10_000
    demo.load({ writes: { acknowledged: 1_500, failed: 0 }, reads: { acknowledged: 3_000, failed: 0, stale: 0 } })
    demo.command('migrate cutover users', 'epoch 2\nwrites stopped for 90 ms')
    now = 12_000
    expect(lines).toEqual([
      '   0 s  starting two servers',
      '  10 s  $ migrate cutover users',
      '          epoch 2',
      '          writes stopped for 90 ms',
    ])
    expect(views.at(-1)?.({ columns: 80, rows: 24 })).toEqual([
      '',
      '◌ under load, after migrate cutover users  2 s, 12 s in all',
      '  writes     1,500  150/s',
      '  reads      3,000  300/s  0 % by the service',
      '  ✔ 0 failed  ✔ 0 stale',
    ])
  })

  test('says what is wrong', () => {
    const load = { writes: 1, reads: 4, readsByService: 1, failed: 2, stale: 1 }
    const rates = { writesPerSecond: null, readsPerSecond: null }
    const lines = demoView({ now: 'x', seconds: 1, nowSeconds: 1, load: { ...load, ...rates } }, none)
    expect(lines.at(-1)).toBe('  ✖ 2 failed  ✖ 1 stale')
    expect(lines.at(-2)).toContain('25 % by the service')
  })
})

test('a rate follows what changes, smoothly', () => {
  const rate = new Rate(0)
  expect([rate.perSecond, rate.secondsFor(10)]).toEqual([null, null])
  rate.measure(1_000, 100)
  expect([rate.perSecond, rate.secondsFor(200)]).toEqual([100, 2])
  for (let second = 2; second < 60; second++) rate.measure(second * 1_000, 100)
  expect(rate.perSecond).toBeLessThan(1)
})

describe('a saga', () => {
  const step = (name: string, group: number) => ({ name, kind: 'compensable', by: 'call', group })
  const saga: SagaSnapshot = {
    ...{ id: '11111111-0000-4000-8000-000000000001', name: 'Checkout', version: 2, status: 'COMPENSATING' },
    ...{
      endedAt: null,
      stranded: false,
      waiting: 'retry',
      dueAt: '2026-11-26T01:00:00.000Z',
      host: null,
      seq: 7,
      seconds: 1.25,
    },
    ...{ startedAt: '2026-11-26T00:59:00.000Z', deadline: null, locks: [{ target: 'shelf\u001b[2J', before: 2 }] },
    failure: { step: 'pay', code: 'STEP_REFUSED', message: 'no money' },
    steps: [step('one', 0), step('two', 1), step('three', 1), step('pay', 2), step('last', 3)],
    journal: [
      { entries: [{ do: 'done', step: 'one', direction: 'execute' }] },
      {
        entries: [
          { do: 'done', step: 'two', direction: 'execute' },
          { do: 'refused', step: 'pay' },
        ],
      },
      { entries: [{ do: 'compensate' }, { do: 'intent', step: 'three', direction: 'compensate' }] },
      { entries: [{ do: 'done', step: 'two', direction: 'compensate' }] },
    ],
  }

  test('shows why it goes back, and how far each step is', () => {
    expect(sagaView(saga, none)).toEqual([
      'saga        11111111-0000-4000-8000-000000000001',
      'definition  Checkout/2',
      'status      COMPENSATING',
      'why         pay: refused: no money',
      'started     2026-11-26T00:59:00.000Z, 1.3 s ago',
      'entry       7',
      'waits for   retry, until 2026-11-26T01:00:00.000Z',
      'locks       shelf (2 before it)',
      '',
      '✔ one    done              compensable, call',
      '✔ two    taken back        compensable, call, parallel',
      '◌ three  being taken back  compensable, call, parallel',
      '✖ pay    refused           compensable, call',
      '· last                     compensable, call',
    ])
  })

  const stuck = (direction: string, step: string | null, more: Partial<SagaSnapshot> = {}) => {
    const error = { code: 'ECONNREFUSED', message: 'connect ECONNREFUSED\n10.0.0.7' }
    const entries = [
      { do: 'unknown', step, direction },
      { do: 'operator', step },
      ...[1, 2].map(() => ({ do: 'unknown', step, direction })),
      { do: 'stuck', direction, failure: { step, ...error } },
    ]
    return sagaView({ ...saga, status: 'STUCK', waiting: null, journal: [{ entries }], ...more }, none).slice(2, 6)
  }

  test('that is stuck says at what, and why, apart from why it goes back', () => {
    expect(stuck('compensate', 'two')).toEqual([
      'status      STUCK',
      'stuck at    taking two back; tried 2 times',
      'because     connect ECONNREFUSED 10.0.0.7',
      'goes back   pay: refused: no money',
    ])
    const pivot = [{ ...step('pay', 0), kind: 'pivot' }]
    expect(stuck('execute', 'pay', { steps: pivot })[1]).toBe(
      'stuck at    pay, the pivot: nobody knows whether it has happened; tried 2 times',
    )
    const retriable = [{ ...step('mail', 0), kind: 'retriable' }]
    expect(stuck('execute', 'mail', { steps: retriable })[1]).toBe(
      'stuck at    mail, which is behind the pivot and has to happen; tried 2 times',
    )
    expect(stuck('execute', null)[1]).toBe('stuck at    no step')
  })

  test('that has ended says how long it took', () => {
    const ended = { ...saga, endedAt: '2026-11-26T02:00:00.000Z', seconds: 3_660 }
    expect(sagaView(ended, none)[4]).toBe('started     2026-11-26T00:59:00.000Z, took 1.0 h')
  })

  test('names what nobody runs', () => {
    expect(sagaView({ ...saga, stranded: true }, none)[2]).toContain('STRANDED: no living process has version 2')
  })
})
