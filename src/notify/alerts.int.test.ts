import { createHmac } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import { startReceiver } from '../../test/support/receiver.ts'
import { alertMemory, openAlerts as openRows } from '../control/alerts.ts'
import { installSchema } from '../control/install.ts'
import type { Alert } from '../model/alert.ts'
import type { Database } from '../model/sql.ts'
import { openDatabase } from '../stores/postgres/database.ts'
import { type AlertOptions, openAlerts } from './alerts.ts'
import type { Target } from './target.ts'

const ALERT: Alert = {
  name: 'sync-failed',
  service: 'users',
  summary: 'the sync of users cannot go on: the slot is gone',
  next: 'migrate explain SLOT_LOST',
  context: { code: 'SLOT_LOST' },
}
const SECRET = 'sixteen characters'

let server: PostgresServer
let database: Database
let folder: string
let said: string[]
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'migrate-alerts-'))
  server = await startPostgres({ name: 'alerts' })
  database = openDatabase({ url: server.url('postgres'), role: 'control', applicationName: 'test' })
  await installSchema(database, ['control'])
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})
beforeEach(async () => {
  said = []
  await database.query('truncate migrate.alert')
})

describe('a webhook', () => {
  test('gets the alert signed, and when it is over', async () => {
    await using receiver = await startReceiver()
    await using alerts = open([{ webhook: receiver.url, secret: SECRET }])
    alerts.raise(ALERT)
    const { headers, body, message } = await receiver.nth(1)
    expect(message).toEqual({
      ...{ schema: 'migrate.alert/1', state: 'raised', project: 'shop', ...ALERT },
      ...{ id: expect.stringMatching(/^[\da-f-]{36}$/), at: expect.stringMatching(/Z$/) },
    })
    const timestamp = String(headers['x-migrate-timestamp'])
    expect(Math.abs(Date.now() / 1_000 - Number(timestamp))).toBeLessThan(5)
    const mac = createHmac('sha256', SECRET).update(`${timestamp}.${body}`).digest('hex')
    expect(headers['x-migrate-signature']).toBe(`sha256=${mac}`)
    alerts.resolve('sync-failed', 'users')
    expect((await receiver.nth(2)).message).toMatchObject({ state: 'resolved', name: 'sync-failed', service: 'users' })
  })

  test('that answers 5xx is asked again with the same message, one that answers 4xx is not', async () => {
    await using busy = await startReceiver()
    await using wrong = await startReceiver()
    busy.answers = [503, 429, 204]
    wrong.answers = [404]
    await using alerts = open([{ webhook: wrong.url }, { webhook: busy.url }])
    alerts.raise(ALERT)
    await busy.nth(3)
    expect(new Set(busy.got.map(({ message }) => message.id)).size).toBe(1)
    expect(wrong.got).toHaveLength(1)
    expect(said).toEqual([expect.stringMatching(/^alert sync-failed of users: http:\S+ cannot take alerts: .* 404$/)])
    expect(said.join()).not.toContain('a-secret-path')
  })

  test('that hangs delays neither the work, nor another target, nor for long the end', async () => {
    await using hanging = await startReceiver()
    await using other = await startReceiver()
    hanging.answers = ['hang']
    const alerts = open([{ webhook: hanging.url }, { webhook: other.url }], { timeout: 60_000, patience: 500 })
    const started = performance.now()
    for (let n = 0; n < 1_000; n++) alerts.raise({ ...ALERT, service: `s${n % 5}` })
    expect(performance.now() - started).toBeLessThan(200)
    await other.nth(5)
    const closing = performance.now()
    await alerts[Symbol.asyncDispose]()
    expect(performance.now() - closing).toBeLessThan(2_000)
    expect(said).toContain('alert: some were not delivered before the end')
  })

  test('whose certificate nobody knows gets nothing', async () => {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
    const args = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '1',
      '-keyout',
      key,
      '-out',
      cert,
      ...subject,
    ]
    expect(spawnSync('openssl', args).status).toBe(0)
    await using receiver = await startReceiver({ key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') })
    {
      await using alerts = open([{ webhook: receiver.url }], { first: 1 })
      alerts.raise(ALERT)
    }
    expect(receiver.got).toEqual([])
    expect(said.join()).toContain('did not take the alert: DEPTH_ZERO_SELF_SIGNED_CERT')
  })
})

describe('a command', () => {
  test('gets the alert on stdin, and of our environment only what it needs', async () => {
    const out = join(folder, 'out')
    {
      await using alerts = open([{ command: ['sh', '-c', `cat > ${out}; env >> ${out}`] }])
      alerts.raise(ALERT)
    }
    const [json = '', ...env] = readFileSync(out, 'utf8').trimEnd().split('\n')
    expect(JSON.parse(json)).toMatchObject({ state: 'raised', ...ALERT })
    const names = env
      .map((line) => line.split('=')[0])
      .filter((name) => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name ?? ''))
    expect(new Set(names)).toEqual(new Set(['MIGRATE_ALERT', 'MIGRATE_ALERT_STATE', 'MIGRATE_SERVICE', 'PATH']))
  })

  test('that does not end is killed with all it started, and tried again', async () => {
    const [pids, done] = [join(folder, 'pids'), join(folder, 'done')]
    const script = join(folder, 'slow.sh')
    // hangs the first time, in a child that a kill of the shell alone would leave behind
    writeFileSync(script, `[ -f ${pids} ] && exec touch ${done}\nsleep 300 &\necho $! > ${pids}\nwait\n`)
    {
      await using alerts = open([{ command: ['sh', script] }], { timeout: 500 })
      alerts.raise(ALERT)
    }
    expect(existsSync(done)).toBe(true)
    // gone, or dead and not yet collected by whoever adopted it
    const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', readFileSync(pids, 'utf8').trim()])
    expect(stdout.toString()).toMatch(/^(Z.*\n)?$/)
  })

  test('that is not there is said once', async () => {
    {
      await using alerts = open([{ command: ['/no/such/program'] }])
      alerts.raise(ALERT)
    }
    expect(said).toEqual(['alert sync-failed of users: /no/such/program cannot take alerts: ENOENT'])
  })
})

describe('people hear of an alert once', () => {
  test('also when two workers raise it many times, until it is resolved', async () => {
    await using receiver = await startReceiver()
    const targets = [{ webhook: receiver.url }]
    {
      await using one = open(targets)
      await using two = open(targets)
      for (const alerts of [one, two, one, two]) alerts.raise(ALERT)
      one.raise({ ...ALERT, service: 'orders' })
    }
    expect(services(receiver.got)).toEqual(['raised orders', 'raised users'])
    {
      await using one = open(targets)
      await using two = open(targets)
      for (const alerts of [one, two, one]) alerts.resolve('sync-failed', 'users')
    }
    expect(services(receiver.got)).toEqual(['raised orders', 'raised users', 'resolved users'])
    await using again = open(targets)
    again.raise(ALERT)
    expect((await receiver.nth(4)).message.state).toBe('raised')
  })

  test('after a restart too, and status can say what is raised', async () => {
    await using receiver = await startReceiver()
    for (let start = 0; start < 3; start++) {
      await using alerts = open([{ webhook: receiver.url }])
      alerts.raise({ ...ALERT, summary: `start ${start}` })
    }
    expect(receiver.got).toHaveLength(1)
    expect(await openRows(database, 'users')).toMatchObject([{ name: 'sync-failed', summary: 'start 0' }])
    expect(await openRows(database, 'orders')).toEqual([])
  })

  test('that nobody took is told again by whoever raises it later', async () => {
    await using receiver = await startReceiver()
    receiver.answers = [404]
    {
      await using alerts = open([{ webhook: receiver.url }])
      alerts.raise(ALERT)
    }
    await database.query(`update migrate.alert set tried_at = tried_at - interval '61 seconds'`)
    receiver.answers = [204]
    await using alerts = open([{ webhook: receiver.url }])
    alerts.raise(ALERT)
    await receiver.nth(2)
  })

  test('also without the control database, which may be what is broken', async () => {
    await using receiver = await startReceiver()
    const away = openDatabase({ url: 'postgres://u@127.0.0.1:9/x', role: 'control', applicationName: 'test' })
    {
      await using alerts = open([{ webhook: receiver.url }], { memory: alertMemory(away) })
      for (let n = 0; n < 3; n++) alerts.raise(ALERT)
      alerts.resolve('sync-failed', 'users')
      alerts.resolve('sync-failed', 'users')
    }
    expect(services(receiver.got)).toEqual(['raised users', 'resolved users'])
    await away[Symbol.asyncDispose]()
  })

  test('without targets it is noted for status, and no trouble with that is told', async () => {
    {
      await using alerts = open([])
      alerts.raise(ALERT)
    }
    expect(await openRows(database, 'users')).toHaveLength(1)
    const away = openDatabase({ url: 'postgres://u@127.0.0.1:9/x', role: 'control', applicationName: 'test' })
    const started = performance.now()
    {
      await using alerts = open([], { memory: alertMemory(away) })
      alerts.raise(ALERT)
    }
    expect(performance.now() - started).toBeLessThan(1_000)
    expect(said).toEqual([])
    await away[Symbol.asyncDispose]()
  })

  test('nobody hears that what was never raised is over', async () => {
    await using receiver = await startReceiver()
    {
      await using alerts = open([{ webhook: receiver.url }])
      alerts.resolve('drift', 'users')
    }
    expect(receiver.got).toEqual([])
  })
})

function open(targets: readonly Target[], more: Partial<AlertOptions> = {}) {
  return openAlerts({
    ...{ project: 'shop', targets, memory: alertMemory(database), first: 20 },
    env: { PATH: process.env['PATH'] ?? '' },
    log: (line) => said.push(line),
    ...more,
  })
}

function services(
  got: readonly { readonly message: { readonly state: string; readonly service: string } }[],
): string[] {
  return got.map(({ message }) => `${message.state} ${message.service}`).sort()
}
