import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import type { PipelineStatus } from '../../src/app/pipeline-status.ts'
import type { ServiceStatus, StatusSnapshot } from '../../src/app/status.ts'
import { freezeServer } from '../support/apart-shop.ts'
import { endOf, fillLog, outcome, SLOT, type SlotShop, startSlotShop } from '../support/slot-shop.ts'
import { eventually, expectEqual } from '../support/two-sides.ts'

// What watches the monolith's disk while a sync runs, is paused, or hangs.

let shop: SlotShop

beforeAll(async () => {
  shop = await startSlotShop()
})
afterAll(() => shop[Symbol.asyncDispose]())

async function status(): Promise<ServiceStatus> {
  const { code, data } = await shop.run(['status', 'users'])
  expect(code).toBe(0)
  return (data as StatusSnapshot).services[0] as ServiceStatus
}

async function forward(): Promise<PipelineStatus> {
  const { sync } = await status()
  return sync.find(({ direction }) => direction === 'forward') as PipelineStatus
}

const write = (name: string) => shop.sides.monolith.query(`update users set name = $1 where id = 1`, [name])
const copied = () => shop.value<string>('users', `select name from users where id = 1`)
const slotThere = () => shop.value<number>('monolith', `select count(*)::int from pg_replication_slots`)

async function limitTo(size: string): Promise<void> {
  await shop.sides.monolith.query(`alter system set max_slot_wal_keep_size = '${size}'`)
  await shop.sides.monolith.query(`select pg_reload_conf()`)
  await eventually(
    () => shop.value<string>('monolith', `current_setting('max_slot_wal_keep_size')`),
    (now) => now === size,
  )
}

describe('a worker that follows', () => {
  test('lets the log go while all writing is in another database', async () => {
    await using worker = await shop.shop.startSync()
    const { monolith } = shop.sides
    await monolith.query(`create database other`)
    const other = new pg.Client({ connectionString: shop.shop.monolithServer.url('other') })
    await other.connect()
    await fillLog(other, 48)
    const at = await shop.value<string>('monolith', `pg_current_wal_lsn()::text`)
    const passed = async (): Promise<boolean> => {
      // the server does so by itself every 15 s
      await other.query(`select pg_log_standby_snapshot()`)
      return shop.value(
        'monolith',
        `select restart_lsn > '${at}' and confirmed_flush_lsn > '${at}'
        from pg_replication_slots where slot_name = '${SLOT}'`,
      )
    }
    await eventually(passed, (done) => done, 30_000)
    await other.end()
    expect(await worker.stop('SIGTERM')).toEqual({ code: 143, signal: null })
  })

  test('writes heartbeats into the log of its source', async () => {
    const { monolith } = shop.sides
    await monolith.query(`select pg_create_logical_replication_slot('beats', 'test_decoding')`)
    await using worker = await shop.shop.startSync()
    const beats = `select count(*)::int from pg_logical_slot_peek_changes('beats', null, null)
      where data like '%transactional: 0 prefix: migrate.heartbeat,%users forward'`
    await eventually(
      () => shop.value<number>('monolith', beats),
      (count) => count > 0,
    )
    await worker.stop()
    await monolith.query(`select pg_drop_replication_slot('beats')`)
  })

  test('shows what its slot keeps, the cap, and its lag in bytes and seconds', async () => {
    await limitTo('2GB')
    await using worker = await shop.shop.startSync()
    const { wal, retainedBytes, ...found } = await eventually(
      forward,
      ({ lagSeconds, lagBytes, wal: { growthBytes } }) => lagBytes === 0 && lagSeconds !== null && growthBytes !== null,
    )
    expect(found.lagSeconds).toBeLessThan(5)
    expect(retainedBytes).toBeGreaterThan(0)
    expect(wal).toMatchObject({ status: 'reserved', capBytes: 2 * 1024 ** 3, detachBytes: 1024 ** 3, detachedAt: null })
    expect(await worker.stop()).toMatchObject({ code: 143 })
    // without a worker the lag grows, and the growth of the log is measured by who asks
    await fillLog(shop.sides.monolith, 32)
    const left = await eventually(
      forward,
      ({ age, wal: { secondsToCap } }) => age > 10 && secondsToCap !== null,
      20_000,
    )
    expect(left.alive).toBe(false)
    expect(left.lagSeconds).toBeGreaterThan(10)
    expect(left.lagBytes).toBeGreaterThan(32 * 1024 ** 2)
    expect(left.wal.growthBytes).toBeGreaterThan((32 * 1024 ** 2) / 40)
    await limitTo('4GB')
  })

  test('that comes after a long absence says how far behind in time it is', async () => {
    await shop.sides.monolith.query(`update users set name = name || '!'`)
    await shop.shop.cli(['sync', 'ctl', 'pause', 'users'])
    await using worker = await shop.shop.startSync()
    const { lagSeconds } = await eventually(forward, ({ alive, lagSeconds: lag }) => alive && lag !== null)
    expect(lagSeconds).toBeGreaterThan(0)
    await shop.shop.cli(['sync', 'ctl', 'resume', 'users'])
    await eventually(forward, ({ lagSeconds: lag, lagBytes }) => lagBytes === 0 && lag !== null && lag < 5)
    await worker.stop()
  })
})

describe('sync ctl', () => {
  let worker: RunningProcess
  beforeAll(async () => {
    worker = await shop.shop.startSync()
  })
  afterAll(async () => void (await worker.stop()))

  test('pause stops a running worker within a second, and one that starts later; resume lets it go on', async () => {
    await write('before')
    await eventually(copied, (name) => name === 'before')
    const { code, data } = await shop.run(['sync', 'ctl', 'pause', 'users', '--reason', 'vacuum full'])
    expect([code, data]).toMatchObject([0, { paused: { reason: 'vacuum full' } }])
    await worker.stdout.find(/"event":"paused"/)
    await write('while paused')
    const { paused } = await status()
    expect(paused).toMatchObject({ by: expect.stringMatching(/^.+@.+$/) as string, reason: 'vacuum full' })
    await worker.stop()
    worker = await shop.shop.startSync()
    await eventually(forward, ({ alive, lagBytes }) => alive && (lagBytes ?? 0) > 0)
    expect(await copied()).toBe('before')
    expect(await shop.run(['sync', 'ctl', 'resume', 'users'])).toMatchObject({ code: 0, data: { paused: null } })
    await eventually(copied, (name) => name === 'while paused', 2_000)
    expect((await status()).paused).toBeNull()
  })

  test('set throttles by bytes, says so, and takes it back', async () => {
    expect(await shop.run(['sync', 'ctl', 'set', 'users', '--rate', '64KiB'])).toMatchObject({ code: 0 })
    // some 600 KiB: what comes after it waits for ten seconds
    await shop.sides.monolith.query(
      `update users set bio = repeat(md5(random()::text), 100), name = 'big' where id <= 200`,
    )
    await eventually(copied, (name) => name === 'big')
    await write('slow')
    const { throttled } = await eventually(forward, (found) => found.throttled !== null)
    expect(throttled).toBe('64.0 KiB a second at most')
    expect(await copied()).toBe('big')
    expect(await shop.run(['sync', 'ctl', 'set', 'users', '--rate', 'none'])).toMatchObject({ code: 0 })
    await eventually(copied, (name) => name === 'slow', 3_000)
    await eventually(forward, (found) => found.throttled === null)
  })

  test('set throttles by the load of the monolith', async () => {
    expect(await shop.run(['sync', 'ctl', 'set', 'users', '--sessions', '1'])).toMatchObject({ code: 0 })
    const busy = await Promise.all([1, 2, 3].map(() => shop.client(shop.shop.monolith.superuser)))
    const working = busy.map((client) => client.query('select pg_sleep(60)').catch(() => undefined))
    const { throttled } = await eventually(
      async () => {
        await write(`at ${Date.now()}`)
        await write(`at ${Date.now()}!`)
        return forward()
      },
      (found) => found.throttled?.includes('statements') === true,
    )
    expect(throttled).toMatch(/^[2-9] statements at work in the monolith, over 1$/)
    await shop.sides.monolith.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where query ~ '^select pg_sleep'`,
    )
    await Promise.all(working)
    await shop.run(['sync', 'ctl', 'set', 'users', '--sessions', 'default', '--rate', 'default'])
  })

  test('leaves one audit row a change', async () => {
    const rows = `select count(*)::int from migrate.audit where action like 'sync ctl %'`
    const before = await shop.value<number>('monolith', rows)
    await shop.run(['sync', 'ctl', 'set', 'users', '--rate', '9MiB'])
    await shop.run(['sync', 'ctl', 'set', 'users', '--rate', 'default', '--sessions', 'none'])
    expect(await shop.value('monolith', rows)).toBe(before + 2)
    const last = `select to_jsonb(a) from migrate.audit a order by id desc limit 1`
    expect(await shop.value('monolith', last)).toMatchObject({
      ...{ who: expect.stringContaining('@') as string, action: 'sync ctl set' },
      ...{ before: { rate: 9 * 1024 ** 2 }, after: { rate: null, sessions: 0 } },
    })
  })

  test.each([[['--rate', 'fast']], [['--sessions', '0']], [[]]])('set refuses %j', async (args) => {
    expect(await shop.run(['sync', 'ctl', 'set', 'users', ...args])).toMatchObject({
      code: 2,
      issue: { code: 'USAGE' },
    })
  })
})

describe('at the cap', () => {
  const RESNAPSHOT = ['sync', 'users', '--resnapshot', '--confirm', 'users', '--once']

  /** everything is confirmed, so that what is written from here on is what the slot keeps */
  beforeAll(async () => {
    expect(await shop.run(RESNAPSHOT)).toMatchObject({ code: 0 })
    await limitTo('64MB')
  })

  test('a target that hangs loses its slot, and every later sync says so until it is copied again', async () => {
    await using worker = await shop.shop.startSync()
    const frozen = freezeServer(shop.shop.usersServer)
    try {
      await write('never comes')
      await fillLog(shop.sides.monolith, 56)
      expect(outcome(await endOf(worker))).toBe('8 SLOT_DETACHED')
      expect(await slotThere()).toBe(0)
      const again = await shop.run(['sync', 'users'])
      expect(outcome(again)).toBe('8 SLOT_DETACHED')
      expect(again.issue?.hint).toContain('migrate sync users --resnapshot')
      const { sync, alerts, next } = await status()
      expect(next).toBe('migrate sync users --resnapshot')
      expect(sync[0]?.wal).toMatchObject({ status: 'gone', detachedAt: expect.stringContaining('UTC') as string })
      expect(alerts).toMatchObject([
        { name: 'sync-failed', summary: expect.stringContaining('was given up') as string },
      ])
    } finally {
      frozen.thaw()
    }
    expect(await shop.run(['sync', 'users', '--once'])).toMatchObject({ code: 8 })
    expect(await shop.run(RESNAPSHOT)).toMatchObject({ code: 0 })
    await expectEqual(shop.sides)
    expect((await forward()).wal).toMatchObject({ status: 'reserved', detachedAt: null })
  })

  test('a pause that was forgotten ends the same way', async () => {
    await using worker = await shop.shop.startSync()
    await shop.run(['sync', 'ctl', 'pause', 'users'])
    await worker.stdout.find(/"event":"paused"/)
    await write('never comes either')
    await fillLog(shop.sides.monolith, 56)
    expect(outcome(await endOf(worker))).toBe('8 SLOT_DETACHED')
    expect(await slotThere()).toBe(0)
    await shop.run(['sync', 'ctl', 'resume', 'users'])
    expect(await shop.run(RESNAPSHOT)).toMatchObject({ code: 0 })
    await expectEqual(shop.sides)
  })

  test('a target that catches up keeps its slot', async () => {
    await using worker = await shop.shop.startSync()
    await fillLog(shop.sides.monolith, 40)
    await write('comes')
    await eventually(copied, (name) => name === 'comes')
    expect(await slotThere()).toBe(1)
    expect(await worker.stop()).toMatchObject({ code: 143 })
  })
})
