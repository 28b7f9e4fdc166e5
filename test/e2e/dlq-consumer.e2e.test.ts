// Dead letters of consumers on the command line. PostgreSQL alone: letters as a consumer writes them, and its drain.
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { dlq } from '../../src/commands/dlq.ts'
import { createOutput } from '../../src/commands/output.ts'
import { runProgram } from '../../src/commands/program.ts'
import { migrate } from '../support/cli.ts'
import { type Eventing, startEventing } from '../support/eventing.ts'
import { eventingConfig } from '../support/eventing-config.ts'
import { startDrain, writeBehind, writeLetters, type Written } from '../support/letters.ts'
import { until } from '../support/messaging.ts'

let db: Eventing
let config: string
const env = { PATH: process.env.PATH, HOME: process.env.HOME }
const ORDERS = ['--kind', 'consumer', '--service', 'orders']
const CONFIRMED = ['--confirm', 'orders']

beforeAll(async () => {
  db = await startEventing({ name: 'dlq-consumer' })
  config = await eventingConfig(db)
})
afterAll(() => db[Symbol.asyncDispose]())
beforeEach(() =>
  db.query(`truncate eventing.dead_letter, eventing.parked_key, eventing.parked_record, eventing.inbox, eventing.audit
    restart identity`),
)

const cli = (...args: string[]) => migrate(['-c', config, 'dlq', ...args], env)
/** In this process, which saves a second each time where the machine is busy. */
const json = async (...args: string[]) => {
  const written: string[] = []
  const stdout = { write: (text: string) => written.push(text) }
  const output = createOutput({ stdout, stderr: { write: () => true } }, { json: true, color: false })
  const interrupts = { signal: new AbortController().signal, code: null }
  const argv = ['-c', config, 'dlq', ...args, '--json']
  const code = await runProgram(argv, { definitions: [dlq], output, interrupts, env })
  const lines = written.join('').trimEnd().split('\n')
  const last = JSON.parse(lines.at(-1) ?? '') as { status: string; data: any; issues: { code: string }[] }
  return { ...last, code, lines }
}

const at = (key: string | null, offset: number): Written => ({ consumer: 'stats', key, offset })
const states = async () =>
  (await db.query(`select id::int, state from eventing.dead_letter order by id`)).map(({ id, state }) => [id, state])
const keyState = async (): Promise<unknown> =>
  (await db.query(`select state from eventing.parked_key`)).map(({ state }) => state)

describe('list', () => {
  test('letters and the keys that wait, with the next step', async () => {
    await writeLetters(db, [at('o-1', 4)], { block: true })
    await writeBehind(db, [at('o-1', 5), at('o-1', 9)])
    const { code, stdout } = await cli('list', ...ORDERS)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^consumer +orders +1 +open +Error\.23503 +orders\/0 @4, key o-1 +3 +\d+ s$/m)
    expect(stdout).toMatch(/^orders +stats +orders +o-1 +behind a letter +2 +Error\.23503 +3 +-$/m)
    expect(stdout).toContain('migrate dlq retry 1 --kind consumer --service orders')
    const { data } = await json('list', '--kind', 'consumer')
    expect(data).toMatchObject({
      letters: [{ id: '1', kind: 'consumer', service: 'orders', consumer: 'stats', offset: '4', key: 'o-1' }],
      parkedKeys: [{ service: 'orders', consumer: 'stats', key: 'o-1', state: 'blocked', records: 2 }],
    })
    expect(JSON.stringify(data)).not.toContain('product')
  })

  test('of all kinds: what can be asked is shown, and a database that is away is said', async () => {
    await writeLetters(db, [at('o-1', 4)], { block: false })
    // its monolith is not there
    expect(await json('list')).toMatchObject({
      ...{ code: 7, status: 'error', issues: [{ code: 'DATABASE_UNREACHABLE' }] },
      data: { letters: [{ id: '1', kind: 'consumer' }] },
    })
    const { stdout, stderr } = await cli('list')
    expect([stdout, stderr]).toEqual([expect.stringContaining('consumer'), expect.stringContaining('UNREACHABLE')])
  })

  test('of the sync there are none, which is said', async () => {
    const { code, stdout } = await cli('list', '--kind', 'sync')
    expect([code, stdout]).toEqual([0, expect.stringContaining('the sync stops with a typed error instead')])
    expect((await json('list', '--kind', 'sync')).data).toMatchObject({ letters: [] })
  })
})

test('show: why, headers, and the value when it is wanted, without what a terminal would obey', async () => {
  const headers = { 'x-note': [Buffer.from('a\u001b[2Jb\nforged')] }
  await writeLetters(db, [{ ...at('o-1', 4), value: '{"n":\u001b[2J\u009b31m', headers }], { block: true })
  const plain = await cli('show', '1', ...ORDERS)
  expect(plain.stdout).toMatch(/error +Error\.23503: no such product id 12\n/)
  expect(plain.stdout).toMatch(/header x-note +ab forged\n/)
  expect(plain.stdout).not.toContain('{"n"')
  expect(plain.stdout).toContain('migrate dlq discard 1 --kind consumer --service orders --confirm orders')
  const whole = await cli('show', '1', ...ORDERS, '--body')
  expect(whole.stdout).toContain('{"n":')
  expect(plain.stdout + whole.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  const { data } = await json('show', '1', ...ORDERS, '--body')
  expect(data).toMatchObject({ body: '{"n":\u001b[2J\u009b31m', bodyEncoding: 'utf8' })
  await writeLetters(db, [{ ...at('o-2', 5), value: Buffer.from([255, 0]) }], { block: true })
  expect((await json('show', '2', ...ORDERS, '--body')).data).toMatchObject({ body: '/wA=', bodyEncoding: 'base64' })
})

describe('retry', () => {
  test('in the order of the key, before what waits; resolved when it was handled', async () => {
    await writeLetters(db, [at('o-1', 4)], { block: true })
    await writeBehind(db, [at('o-1', 5), at('o-1', 6)])
    const handled: string[] = []
    await using _drain = startDrain(db, 'stats', (effect) => handled.push(effect))
    const dry = await json('retry', '1', ...ORDERS, '--dry-run')
    expect([dry.data, await states(), await keyState()]).toEqual([{ letters: ['1'] }, [[1, 'open']], ['blocked']])
    expect(await json('retry', '1', ...ORDERS)).toMatchObject({ code: 0, data: { retrying: ['1'] } })
    await until('all are handled', async () => handled.length === 3 && ((await keyState()) as []).length === 0)
    expect(handled).toEqual(['o-1 4', 'o-1 5', 'o-1 6'])
    expect(await db.query(`select state, settled_by is not null as by from eventing.dead_letter`)).toEqual([
      { state: 'resolved', by: true },
    ])
    expect(await db.query(`select action, target, before->>'state' as before, after from eventing.audit`)).toEqual([
      { action: 'dlq retry', target: 'dead letter 1', before: 'open', after: { state: 'retrying' } },
    ])
    expect(await json('retry', '1', ...ORDERS)).toMatchObject({ code: 4, issues: [{ code: 'DEAD_LETTER_CLOSED' }] })
  })

  test('that fails again is open again, and the key waits on', async () => {
    await writeLetters(db, [at('o-1', 4)], { block: true })
    await writeBehind(db, [at('o-1', 5)])
    await using _drain = startDrain(db, 'stats', () => {
      throw new Error('still not')
    })
    await json('retry', '--all', ...ORDERS)
    await until('open again', async () => (await states())[0]?.[1] === 'open')
    expect(await db.query(`select attempts, message from eventing.dead_letter`)).toEqual([
      { attempts: 4, message: 'still not' },
    ])
    expect(await keyState()).toEqual(['blocked'])
    expect(await db.query(`select record_offset::int as at from eventing.parked_record`)).toEqual([{ at: 5 }])
  })

  test('of a consumer that skips: letters of several keys and without one, each key in its order', async () => {
    await writeLetters(db, [at('o-1', 7), at('o-2', 8), at('o-1', 9), at(null, 10)], { block: false })
    const handled: string[] = []
    expect((await json('retry', '--all', ...ORDERS)).data.retrying).toEqual(['1', '2', '3', '4'])
    await using _drain = startDrain(db, 'stats', (effect) => handled.push(effect), 'skip')
    await until('all are handled', async () => handled.length === 4)
    expect(handled.filter((effect) => effect.startsWith('o-1'))).toEqual(['o-1 7', 'o-1 9'])
    await until('nothing waits', async () => ((await keyState()) as []).length === 0)
  })

  test('one of two letters of a key: the key waits for the other one, until that is discarded', async () => {
    await writeLetters(db, [at('o-1', 4), at('o-1', 5)], { block: true })
    await writeBehind(db, [at('o-1', 6)])
    const handled: string[] = []
    await using _drain = startDrain(db, 'stats', (effect) => handled.push(effect))
    await json('retry', '2', ...ORDERS)
    await until('the first is handled', async () => (await states())[1]?.[1] === 'resolved')
    expect([handled, await keyState()]).toEqual([['o-1 5'], ['blocked']])
    expect(await json('discard', '1', ...ORDERS, ...CONFIRMED)).toMatchObject({ code: 0, data: { discarded: ['1'] } })
    await until('the rest is handled', async () => ((await keyState()) as []).length === 0)
    expect(handled).toEqual(['o-1 5', 'o-1 6'])
  })

  test('a letter goes before what was moved to a lower partition', async () => {
    await writeLetters(db, [at('o-1', 4)], { block: true })
    await db.query(`update eventing.dead_letter set partition = 3`)
    await writeBehind(db, [at('o-1', 1)])
    const handled: string[] = []
    await json('retry', '1', ...ORDERS)
    await using _drain = startDrain(db, 'stats', (effect) => handled.push(effect))
    await until('both are handled', async () => handled.length === 2)
    expect(handled).toEqual(['o-1 4', 'o-1 1'])
  })
})

describe('discard', () => {
  test('needs the name, is audited, and lets the key go on', async () => {
    await writeLetters(db, [at('o-1', 4)], { block: true })
    await writeBehind(db, [at('o-1', 5)])
    for (const args of [[], ['--confirm', 'users']]) {
      const refused = await json('discard', '1', ...ORDERS, ...args)
      expect(refused).toMatchObject({ code: 4, issues: [{ code: 'CONFIRMATION_MISSING' }] })
    }
    expect((await json('discard', '1', ...ORDERS, '--dry-run')).data).toEqual({ letters: ['1'] })
    expect([await states(), await keyState()]).toEqual([[[1, 'open']], ['blocked']])
    expect((await json('discard', '1', ...ORDERS, ...CONFIRMED)).data).toEqual({ discarded: ['1'] })
    expect([await states(), await keyState()]).toEqual([[[1, 'discarded']], ['retrying']])
    expect(await db.query(`select action, target, after from eventing.audit`)).toEqual([
      { action: 'dlq discard', target: 'dead letter 1', after: { state: 'discarded' } },
    ])
    const handled: string[] = []
    await using _drain = startDrain(db, 'stats', (effect) => handled.push(effect))
    await until('nothing waits', async () => ((await keyState()) as []).length === 0)
    expect(handled).toEqual(['o-1 5'])
  })

  test('one that is tried again and again: by its number, not by --all', async () => {
    await writeLetters(db, [at('o-1', 4)], { block: true })
    await json('retry', '1', ...ORDERS)
    await db.query(`update eventing.parked_key set due_at = 'infinity', attempts = 7`)
    expect((await json('discard', '--all', ...ORDERS, ...CONFIRMED)).data).toEqual({ discarded: [] })
    expect((await json('discard', '1', ...ORDERS, ...CONFIRMED)).data).toEqual({ discarded: ['1'] })
    expect(await db.query(`select 1 from eventing.parked_record`)).toEqual([])
    await using _drain = startDrain(db, 'stats', () => undefined)
    await until('nothing waits', async () => ((await keyState()) as []).length === 0)
  })
})

describe('export', () => {
  test('NDJSON on stdout, bytes in base64', async () => {
    await writeLetters(db, [{ ...at('o-1', 4), value: Buffer.from([0, 255]) }, at(null, 5)], { block: false })
    const { code, stdout, stderr } = await cli('export', ...ORDERS)
    expect([code, stderr]).toEqual([0, '2 letter(s) written\n'])
    const letters = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object)
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    expect(letters).toMatchObject([
      { id: '1', key: base64('o-1'), value: 'AP8=', headers: { type: [base64('Counted')] }, time: 1_700_000_000_000 },
      { id: '2', key: null, value: base64('{"n":5}') },
    ])
    const { lines, data } = await json('export', '2', ...ORDERS)
    expect([lines.length, data]).toEqual([2, { letters: 1, output: null }])
  })

  test('to a file, which is never replaced', async () => {
    await writeLetters(
      db,
      Array.from({ length: 45 }, (_, n) => at(`o-${n}`, n)),
      { block: false },
    )
    const path = join(db.server.folder, 'letters.ndjson')
    expect((await json('export', ...ORDERS, '--output', path)).data).toEqual({ letters: 45, output: path })
    const written = await readFile(path, 'utf8')
    expect(
      written
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { id: string }).id),
    ).toEqual(Array.from({ length: 45 }, (_, n) => String(n + 1)))
    expect((await stat(path)).mode & 0o077).toBe(0)
    await writeFile(path, 'mine')
    expect(await json('export', ...ORDERS, '--output', path)).toMatchObject({
      code: 4,
      issues: [{ code: 'FILE_EXISTS' }],
    })
    expect(await readFile(path, 'utf8')).toBe('mine')
    const away = join(db.server.folder, 'no', 'such')
    expect((await json('export', ...ORDERS, '--output', away)).issues[0]?.code).toBe('FILE_UNWRITABLE')
  })
})

test.each([
  [['show', '1'], 2, 'DEAD_LETTER_KIND'],
  [['retry', '1', '--service', 'orders'], 2, 'DEAD_LETTER_KIND'],
  [['show', '99', '--kind', 'consumer'], 3, 'DEAD_LETTER_UNKNOWN'],
  [['retry', '99', '--kind', 'consumer'], 3, 'DEAD_LETTER_UNKNOWN'],
  [['list', '--kind', 'consumer', '--service', 'nobody'], 2, 'SERVICE_UNKNOWN'],
  [['list', '--kind', 'saga'], 2, 'USAGE'],
  [['retry', '--all', '--kind', 'sync'], 2, 'USAGE'],
  [['export', 'x', '--kind', 'consumer'], 2, 'USAGE'],
])('%j exits %i', async (args, code, error) => {
  expect(await json(...args)).toMatchObject({ code, issues: [{ code: error }] })
})

test('services whose database has no schema: passed over in a list, an error by name; two need the name', async () => {
  await writeLetters(db, [at('o-1', 4)], { block: false })
  const url = db.url.replace(/\/service$/, '/other')
  await db.admin.query(`create database other owner service`)
  const text = await readFile(config, 'utf8')
  const two = `${text}  users: { http: "http://127.0.0.1:1", tables: [users], stores: [{ kind: postgres, url: "${url}" }] }\n`
  const before = config
  config = join(db.server.folder, 'two.yaml')
  await writeFile(config, two)
  const missing = await json('list', '--kind', 'consumer', '--service', 'users')
  expect(missing).toMatchObject({ code: 3, issues: [{ code: 'EVENTING_MISSING' }] })
  expect(await json('list', '--kind', 'consumer')).toMatchObject({ code: 0, data: { letters: [{ id: '1' }] } })
  expect((await json('show', '1', '--kind', 'consumer')).code).toBe(0)
  await writeFile(config, two.replace(url, db.url))
  const either = await json('show', '1', '--kind', 'consumer')
  expect(either).toMatchObject({ code: 2, issues: [{ code: 'DEAD_LETTER_SERVICE' }] })
  config = before
})
