import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startProcess } from '../../fixtures/servers/process.ts'
import { CLI, migrate } from '../support/cli.ts'
import { type Eventing, startEventing } from '../support/eventing.ts'
import { eventingConfig } from '../support/eventing-config.ts'
import { event, EventStore, runProjection, subscribe } from '../../src/index.ts'

let db: Eventing
let config: string
let store: EventStore<{ Paid: ReturnType<typeof event<{ total: string }>> }>
const env = { PATH: process.env.PATH, HOME: process.env.HOME }

beforeAll(async () => {
  db = await startEventing({ name: 'events-cli' })
  config = await eventingConfig(db)
  store = new EventStore(db.pool, { events: { Paid: event<{ total: string }>() }, chained: true })
  for (let i = 1; i <= 3; i++)
    await store.append('order-42', [{ type: 'Paid', data: { total: `${i}.00` } }], { expectedVersion: i - 1 })
})
afterAll(() => db[Symbol.asyncDispose]())

const cli = (...args: string[]) => migrate(['-c', config, 'events', ...args], env)
const json = async (...args: string[]) => {
  const { stdout, code } = await cli(...args, '--json')
  return {
    ...(JSON.parse(stdout) as { status: string; data: Record<string, unknown>; issues: { code: string }[] }),
    code,
  }
}

describe('read', () => {
  test('a stream, with the next step', async () => {
    const { code, stdout } = await cli('read', 'orders', 'order-42', '--from', '2')
    expect(code).toBe(0)
    expect(stdout).toMatch(/order-42 @2 {2}Paid {2}\{"total":"2.00"\}\n.*order-42 @3/)
    expect(stdout).toContain('migrate events verify orders order-42')
  })

  test('control characters of a payload never reach a terminal', async () => {
    await store.append('nasty', [{ type: 'Paid', data: { total: '\u001b[2J\u009b31m' } }], {
      expectedVersion: 'no-stream',
    })
    expect((await cli('read', 'orders', 'nasty')).stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  })

  test.each([
    [['read', 'orders', 'nothing'], 3, 'STREAM_UNKNOWN'],
    [['read', 'nobody'], 2, 'SERVICE_UNKNOWN'],
    [['read', 'orders', 'order-42', '--from', 'x'], 2, 'USAGE'],
  ])('%j exits %i', async (args, code, error) => {
    const result = await json(...args)
    expect(result).toMatchObject({ code, issues: [{ code: error }] })
  })
})

test('tail prints what is committed from now on, and ends with 130 at ^C', async () => {
  await using tail = await startProcess({
    ...{ name: 'tail', command: process.execPath, args: [CLI, '-c', config, 'events', 'tail', 'orders', '--json'] },
    ...{ env, log: join(db.server.folder, 'tail.log') },
  })
  // until it is there: what came before it started is not shown
  let n = 0
  const found = tail.stdout.find(/"stream":"tailed"/)
  while (!(await Promise.race([found, new Promise((resolve) => setTimeout(resolve, 200, null))]))) {
    await store.append('tailed', [{ type: 'Paid', data: { total: String(n++) } }], { expectedVersion: 'any' })
    expect(n).toBeLessThan(100)
  }
  expect(await tail.stop('SIGINT')).toEqual({ code: 130, signal: null })
  expect(tail.stdout.text()).not.toContain('"stream":"order-42"')
})

describe('append', () => {
  const data = ['--type', 'Noted', '--data', '{"note":"seen"}']

  test('at the expected version, with a row of audit; else a conflict, exit 4', async () => {
    expect(await json('append', 'orders', 'by-hand', ...data, '--expected-version', 'no-stream')).toMatchObject({
      code: 0,
      data: { version: 1 },
    })
    const conflict = await json('append', 'orders', 'by-hand', ...data, '--expected-version', 'no-stream')
    expect(conflict).toMatchObject({ code: 4, issues: [{ code: 'STREAM_CONFLICT' }] })
    expect(await db.query(`select action, target from eventing.audit`)).toEqual([
      { action: 'events append', target: 'by-hand' },
    ])
  })

  test('events on stdin, by their ids only once', async () => {
    const id = '3f0e8c9e-8f7e-4c55-a0b5-0c5f7d0f9a11'
    const once = (): unknown => {
      const args = [CLI, '-c', config, 'events', 'append', 'orders', 'by-stdin', '--expected-version', 'any', '--json']
      const { stdout } = spawnSync(process.execPath, args, {
        env,
        input: JSON.stringify([{ type: 'Noted', data: {}, id }]),
        encoding: 'utf8',
      })
      return (JSON.parse(stdout) as { data: unknown }).data
    }
    expect([once(), once()]).toEqual([
      { stream: 'by-stdin', version: 1, repeated: false },
      { stream: 'by-stdin', version: 1, repeated: true },
    ])
  })

  test.each([
    [['--data', '{}', '--expected-version', 'any']],
    [['--type', 'A', '--data', '{', '--expected-version', 'any']],
    [[...data, '--expected-version', '-1']],
  ])('%j is a usage error', async (args) => {
    expect((await json('append', 'orders', 'x', ...args)).code).toBe(2)
  })
})

test('replay builds a projection anew, after the name was given', async () => {
  const stop = new AbortController()
  await runProjection(
    new EventStore(db.pool, { events: { Paid: event(), Noted: event() } }),
    {
      ...{ name: 'paid', version: 1 },
      create: async (tx, table) => void (await tx.query(`create table ${table} (n int)`)),
      apply: async (tx, events, table) => void (await tx.query(`insert into ${table} values ($1)`, [events.length])),
    },
    { signal: stop.signal, onLive: () => stop.abort() },
  )
  expect(await json('replay', 'orders', 'paid_v1', '--dry-run')).toMatchObject({
    code: 0,
    data: { table: 'paid_v1', dryRun: true },
  })
  expect(await json('replay', 'orders', 'paid_v1')).toMatchObject({
    code: 4,
    issues: [{ code: 'CONFIRMATION_MISSING' }],
  })
  expect(await db.query(`select count(*)::int as n from paid_v1`)).toEqual([{ n: 1 }])
  expect((await json('replay', 'orders', 'paid_v1', '--confirm', 'paid_v1')).code).toBe(0)
  expect(await db.query(`select count(*)::int as n from paid_v1`)).toEqual([{ n: 0 }])
  expect(await db.query(`select epoch, seq::int from eventing.checkpoint where name = 'paid_v1'`)).toEqual([
    { epoch: 0, seq: 0 },
  ])
  expect(await json('replay', 'orders', 'nothing', '--dry-run')).toMatchObject({
    code: 2,
    issues: [{ code: 'SUBSCRIPTION_UNKNOWN' }],
  })
})

test('replay from a position: what is behind it comes again, not from a place that was not passed', async () => {
  const seen: string[] = []
  const follow = async (): Promise<void> => {
    const stop = new AbortController()
    await subscribe(new EventStore(db.pool, { events: { Paid: event(), Noted: event() } }), {
      ...{ name: 'mailer', signal: stop.signal, onCaughtUp: async () => stop.abort() },
      handle: async (_, page) => void seen.push(...page.map(({ stream, version }) => `${stream}@${version}`)),
    })
  }
  await follow()
  const { data } = await json('read', 'orders')
  const all = data['events'] as { position: string }[]
  expect(seen).toHaveLength(all.length)
  const from = all.at(-3)?.position ?? ''
  expect((await json('replay', 'orders', 'mailer', '--from', from, '--confirm', 'mailer')).code).toBe(0)
  await follow()
  expect(seen.slice(all.length)).toEqual(seen.slice(all.length - 2, all.length))
  expect((await db.query(`select after from eventing.audit where target = 'mailer'`))[0]).toEqual({ after: from })
  for (const args of [
    ['mailer', '--from', '9/1/1', '--dry-run'],
    ['paid_v1', '--from', from, '--confirm', 'paid_v1'],
  ])
    expect(await json('replay', 'orders', ...args)).toMatchObject({ code: 2, issues: [{ code: 'REPLAY_POSITION' }] })
  expect((await json('replay', 'orders', 'mailer', '--from', 'x', '--dry-run')).code).toBe(2)
})

test('verify finds an edited row and exits 3', async () => {
  expect(await json('verify', 'orders')).toMatchObject({ code: 0, data: { defects: [] } })
  await db.query(
    `update eventing.event_store set event_data = '{"total": "0.01"}' where aggregate_id = 'order-42' and version = 2`,
  )
  expect(await json('verify', 'orders', 'order-42')).toMatchObject({
    code: 3,
    data: { defects: [{ stream: 'order-42', version: 2, problem: 'edited' }] },
  })
  expect((await cli('verify', 'orders')).stdout).toContain('order-42 @2  edited')
})

test('a database without the schema is told so', async () => {
  await db.query(`alter schema eventing rename to elsewhere`)
  expect(await json('read', 'orders')).toMatchObject({ code: 3, issues: [{ code: 'EVENTING_MISSING' }] })
  await db.query(`alter schema elsewhere rename to eventing`)
})
