import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../support/cli.ts'
import { type Eventing, startEventing } from '../support/eventing.ts'
import { eventingConfig } from '../support/eventing-config.ts'
import { until } from '../support/messaging.ts'
import { runSagas } from '../support/sagas.ts'
import { defineSaga, Sagas } from '../../src/index.ts'

let db: Eventing
let config: string
const env = { PATH: process.env.PATH, HOME: process.env.HOME }
const stuck = '11111111-0000-4000-8000-000000000001'

const saga = defineSaga<{ n: number }>({ name: 'Checkout', version: 2, locks: ({ n }) => [`customer ${n}`] })
  .call('reserve', { execute: async () => 1, compensate: null })
  .call('pay', {
    kind: 'pivot',
    retry: { attempts: 1 },
    execute: () => Promise.reject(new Error('\u001b[31mthe bank hangs')),
  })
  .local('confirm', { kind: 'retriable', execute: async (_, { results }) => results.pay })
  .build()

beforeAll(async () => {
  db = await startEventing({ name: 'saga-cli' })
  config = await eventingConfig(db)
  await using running = runSagas(db, { sagas: [saga] })
  await (await running.sagas.start(saga, { n: 1 }, { id: stuck })).outcome()
  await (await running.sagas.start(saga, { n: 2 })).outcome()
})
afterAll(() => db[Symbol.asyncDispose]())

const cli = (...args: string[]) => migrate(['-c', config, 'saga', ...args], env)
const json = async (...args: string[]) => {
  const { stdout, code } = await cli(...args, '--json')
  const lines = stdout.trim().split('\n')
  return { ...(JSON.parse(lines.at(-1) ?? '') as { data: any; issues: { code: string }[] }), lines, code }
}

describe('looking', () => {
  test('list, with the next step', async () => {
    const { stdout, code } = await cli('list', 'orders', '--status', 'stuck', '--name', 'Checkout')
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`${stuck}  Checkout/2 +STUCK +pay .* the bank hangs`))
    expect(stdout).toContain('migrate saga show orders')
    expect(stdout).not.toContain('\u001b')
  })

  test('show: the facts, the steps, and the story', async () => {
    const { stdout, code } = await cli('show', 'orders', stuck.slice(0, 8))
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /status +STUCK\nstuck at +pay, the pivot: nobody knows whether it has happened; tried 1 time\n/,
    )
    expect(stdout).toMatch(/because +Error the bank hangs\n/)
    expect(stdout).toMatch(/locks +customer 1 \(held\)/)
    expect(stdout).toMatch(/✔ reserve +done +compensable, call\n✖ pay +no answer +pivot, call\n· confirm/)
    expect(stdout).toMatch(
      /#2 .*pay {2}is asked for\n.*#3 .*pay {2}no answer: Error the bank hangs; no more tries\n.*STUCK/,
    )
    // what is proposed is possible, and says what comes of it
    expect(stdout.slice(stdout.indexOf('Next:')).replaceAll(/--expect-seq \d+/g, '--expect-seq N')).toBe(`Next:
  migrate saga retry orders 11111111 --expect-seq N -c ${config}
      when the cause is mended: asks for pay, then confirm
  migrate saga skip orders 11111111 --expect-seq N --reason '…' --result '…' -c ${config}
      when pay has happened, or was done by hand: asks for confirm
  migrate saga cancel orders 11111111 --expect-seq N --reason '…' --not-done -c ${config}
      when you have found out that pay has not happened: it is COMPENSATED
`)
    const { data } = await json('show', 'orders', stuck)
    expect(data).toMatchObject({ id: stuck, status: 'STUCK', timeline: expect.any(Array), failure: { step: 'pay' } })
  })

  test('locks and stats', async () => {
    expect((await cli('locks', 'orders')).stdout).toMatch(new RegExp(`customer 1 +held +${stuck} +Checkout +STUCK`))
    const { stdout } = await cli('stats', 'orders')
    expect(stdout).toMatch(/Checkout\/2 +0 +0 +0 +2 +0 +0 +0 +- +-/)
    expect(stdout).toContain('no process runs sagas')
  })

  test.each([
    [['list', 'orders', '--status', 'LOST'], 2, 'USAGE'],
    [['list', 'nobody'], 2, 'SERVICE_UNKNOWN'],
    [['show', 'orders', 'ffffffff'], 3, 'SAGA_UNKNOWN'],
    [['skip', 'orders', stuck], 2, 'USAGE'],
    [['skip', 'orders', stuck, '--reason', '…'], 2, 'USAGE'],
    [['skip', 'orders', stuck, '--reason', 'x', '--result', '{'], 2, 'USAGE'],
    [['retry', 'orders', stuck, '--expect-seq', '1'], 4, 'SAGA_MOVED'],
    [['resume', 'orders', stuck], 4, 'SAGA_NOT_POSSIBLE'],
    [['cancel', 'orders', stuck, '--reason', 'x'], 4, 'SAGA_NOT_POSSIBLE'],
  ])('%j exits %i', async (args, code, error) => {
    expect(await json(...args)).toMatchObject({ code, issues: [{ code: error }] })
  })
})

test('watching a saga that an order moves on, until it has ended', async () => {
  const before = await json('show', 'orders', stuck)
  expect((await cli('skip', 'orders', stuck, '--reason', 'paid', '--dry-run')).stdout).toMatch(
    /would skip .* STUCK at pay; then: asks for confirm/,
  )
  expect((await json('show', 'orders', stuck)).data.seq).toBe(before.data.seq)
  const skipped = await cli('skip', 'orders', stuck.slice(0, 9), '--reason', 'paid, says the bank', '--result', '"77"')
  expect(skipped).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/was STUCK at pay, and is RUNNING; now: asks for confirm/),
  })
  const watching = json('show', 'orders', stuck, '--watch')
  await using running = runSagas(db, { sagas: [saga] })
  const { lines, data, code } = await watching
  expect(code).toBe(0)
  expect(data).toMatchObject({ status: 'DONE', steps: expect.any(Array) })
  expect(lines.slice(0, -1).map((line) => (JSON.parse(line) as { what: string }).what)).toEqual(
    data.timeline.map(({ what }: { what: string }) => what),
  )
  expect(data.timeline.map(({ what }: { what: string }) => what)).toContainEqual(
    expect.stringMatching(/^skip by .*: paid, says the bank$/),
  )
  expect((await running.sagas.outcome(stuck)).status).toBe('DONE')
})

test('watching goes on through an outage', async () => {
  const id = randomUUID()
  await new Sagas(db.pool, { sagas: [saga] }).start(saga, { n: 4 }, { id })
  const watching = json('show', 'orders', id, '--watch')
  // the last statement of a look
  const watchers = `select from pg_stat_activity where application_name = 'migrate/saga' and state = 'idle' and query like '%saga_lock%'`
  await until('it watches', async () => (await db.admin.query(watchers)).rowCount !== 0)
  await db.server.kill9()
  await db.server.restart()
  await using running = runSagas(db, { sagas: [saga] })
  expect((await running.sagas.outcome(id)).status).toBe('STUCK')
  const { code, data } = await watching
  expect({ code, data }).toMatchObject({ code: 0, data: { id, status: 'STUCK' } })
})

test('what was printed while it was watched is not printed again', async () => {
  const { stdout } = await cli('show', 'orders', stuck, '--watch')
  expect(stdout.match(/ #1 /g)).toHaveLength(1)
  expect(stdout).toMatch(/ DONE\n\nsaga +11111111/)
})

test('several at once: where one is not possible the others are done, and it says so', async () => {
  const { data } = await json('list', 'orders', '--status', 'STUCK')
  const other = (data.sagas as { id: string }[]).find(({ id }) => id !== stuck)?.id ?? ''
  const both = await json('retry', 'orders', stuck, other)
  expect(both).toMatchObject({ code: 4, issues: [{ code: 'SAGA_NOT_POSSIBLE' }] })
  expect(both.data.sagas).toMatchObject([
    { id: stuck, status: 'DONE', after: null, error: 'SAGA_NOT_POSSIBLE' },
    { id: other, status: 'STUCK', after: 'RUNNING', error: null },
  ])
})

test('one whose version nobody has is STRANDED', async () => {
  const id = randomUUID()
  await new Sagas(db.pool, { sagas: [saga] }).start(saga, { n: 3 }, { id })
  expect((await cli('list', 'orders', '--status', 'STRANDED')).stdout).toContain(`${id}  Checkout/2  STRANDED`)
})
