import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { dropSlotOf, endOf, SLOT, type SlotShop, startSlotShop } from '../support/slot-shop.ts'
import { eventually, expectEqual } from '../support/two-sides.ts'

// A source that is not what it was: nothing is resumed, nothing is copied again, until somebody says so.

const ALTER = `alter publication ${SLOT}`
const RESNAPSHOT = ['sync', 'users', '--resnapshot', '--confirm', 'users']

let shop: SlotShop
beforeAll(async () => {
  shop = await startSlotShop()
  expect(await shop.run(['sync', 'users', '--once'])).toMatchObject({ code: 0 })
})
afterAll(() => shop[Symbol.asyncDispose]())

/** Rows and checkpoint of the service, and the slots and publications of the monolith. */
async function state(): Promise<unknown> {
  return [
    await shop.value('users', `select md5(string_agg(u::text, '' order by id)) from users u`),
    await shop.value('users', `select to_jsonb(array_agg(to_jsonb(c) - 'epoch')) from migrate.checkpoint c`),
    await shop.value(
      'monolith',
      `select jsonb_agg(to_jsonb(s) - 'active_pid') from (
      select slot_name, plugin, confirmed_flush_lsn, active from pg_replication_slots) s`,
    ),
    await shop.value('monolith', `select jsonb_agg(to_jsonb(t)) from pg_publication_tables t`),
  ]
}

async function repaired(): Promise<void> {
  expect(await shop.run([...RESNAPSHOT, '--once'])).toMatchObject({ code: 0 })
  await expectEqual(shop.sides)
}

async function write(): Promise<void> {
  await shop.sides.monolith.query(`update users set name = name || '.' where id <= 3`)
}

describe('found at the start', () => {
  const makeSlot = (plugin: string) => `select pg_drop_replication_slot('${SLOT}');
    select pg_create_logical_replication_slot('${SLOT}', '${plugin}')`
  const put = `${ALTER} drop table user_preferences; ${ALTER} add table user_preferences`

  test.each([
    ['a slot that was dropped', `select pg_drop_replication_slot('${SLOT}')`, 'SLOT_LOST'],
    ['a slot that was made again', makeSlot('pgoutput'), 'SLOT_RECREATED'],
    ['a slot of another plugin', makeSlot('test_decoding'), 'SLOT_LOST'],
    [
      'a slot that was moved on',
      `select pg_replication_slot_advance('${SLOT}', pg_current_wal_lsn())`,
      'SLOT_RECREATED',
    ],
    ['a publication that was dropped', `drop publication ${SLOT}`, 'PUBLICATION_LOST'],
    ['a publication that lacks a table', `${ALTER} drop table user_preferences`, 'PUBLICATION_LOST'],
    ['a table that was out of the publication for a while', put, 'PUBLICATION_LOST'],
    ['a publication that lacks updates', `${ALTER} set (publish = 'insert')`, 'PUBLICATION_LOST'],
  ])('%s', async (_, sql, code) => {
    await write()
    await shop.sides.monolith.query(sql)
    await write()
    const before = await state()
    for (const args of [
      ['sync', 'users'],
      ['sync', 'users', '--once'],
    ]) {
      const { code: exit, issue } = await shop.run(args)
      expect([exit, issue?.code]).toEqual([8, code])
      expect(issue?.hint).toContain('migrate sync users --resnapshot')
    }
    expect(await state()).toEqual(before)
    await repaired()
  })

  test('another server', async () => {
    await shop.sides.users.query(`update migrate.checkpoint set source_system = '1'`)
    const { code, issue } = await shop.run(['sync', 'users'])
    expect([code, issue?.code]).toEqual([8, 'SERVER_CHANGED'])
    await repaired()
  })

  test('a server whose log ends before what was read from it', async () => {
    await shop.sides.users.query(`update migrate.checkpoint set commit_lsn = commit_lsn + 1000000000`)
    const { code, issue } = await shop.run(['sync', 'users'])
    expect([code, issue?.code]).toEqual([8, 'TIMELINE_CHANGED'])
    await repaired()
  })

  test('a server that was restored to a point in time', async () => {
    const { monolithServer } = shop.shop
    await shop.sides.monolith.query(`alter system set restore_command = 'false'`)
    await monolithServer.stop()
    const signal = join(monolithServer.folder, 'data/recovery.signal')
    await writeFile(signal, '')
    await chmod(signal, 0o666)
    await monolithServer.restart()
    await shop.connect()
    const timeline = () =>
      shop.value<string>('monolith', `left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)`).catch(() => null)
    expect(await eventually(timeline, (found) => found !== null)).toBe('00000002')
    const { code, issue } = await shop.run(['sync', 'users'])
    expect([code, issue?.code]).toEqual([8, 'TIMELINE_CHANGED'])
    expect(issue?.message).toContain('timeline 2, expected 1')
    await repaired()
  })

  test('a checkpoint of an earlier version learns what it lacks, once', async () => {
    await shop.sides.users.query(`update migrate.checkpoint set source_timeline = null, publication = null`)
    expect(await shop.run(['sync', 'users', '--once'])).toMatchObject({ code: 0 })
    await shop.sides.monolith.query(put)
    expect(await shop.run(['sync', 'users', '--once'])).toMatchObject({ code: 8 })
    await repaired()
  })
})

describe('found while it runs', () => {
  test.each([
    ['a table is taken out of the publication', `${ALTER} drop table user_preferences`],
    ['a table is out of it for a moment', `${ALTER} drop table user_preferences; ${ALTER} add table user_preferences`],
    ['the publication is dropped', `drop publication ${SLOT}`],
  ])('%s: exit 8 within seconds', async (_, sql) => {
    await using worker = await shop.shop.startSync()
    const from = performance.now()
    await shop.sides.monolith.query(sql)
    const { code, issue } = await endOf(worker)
    expect([code, issue?.code]).toEqual([8, 'PUBLICATION_LOST'])
    expect(performance.now() - from).toBeLessThan(15_000)
    await repaired()
  })

  test('the slot is made again behind its back', async () => {
    await using worker = await shop.shop.startSync()
    worker.child.kill('SIGSTOP')
    await dropSlotOf(shop.sides.monolith, SLOT)
    await write()
    await shop.sides.monolith.query(`select pg_create_logical_replication_slot('${SLOT}', 'pgoutput')`)
    worker.child.kill('SIGCONT')
    const { code, issue } = await endOf(worker)
    expect([code, issue?.code]).toEqual([8, 'SLOT_RECREATED'])
    await repaired()
  })
})

describe('--resnapshot', () => {
  const rows = () => shop.value<number>('users', `select count(*)::int from users`)
  beforeEach(async () => {
    // a row that only the service has; its gate lets nobody else write
    await shop.sides.users.query(`set session authorization migrate_apply;
      insert into users (id, email, name) overriding system value values (1000000, 'stray', 'stray') on conflict do nothing;
      reset session authorization`)
  })

  test.each([
    [['sync', 'users', '--resnapshot'], 'CONFIRMATION_MISSING'],
    [['sync', 'users', '--resnapshot', '--confirm', 'orders'], 'CONFIRMATION_MISSING'],
  ])('%j is refused, and changes nothing', async (args, expected) => {
    const before = [await state(), await rows()]
    const { code, issue } = await shop.run(args)
    expect([code, issue?.code]).toEqual([4, expected])
    expect(issue?.hint).toContain('--confirm users')
    expect([await state(), await rows()]).toEqual(before)
  })

  test('readers see the old rows until the new ones are there', async () => {
    const before = await rows()
    await using copying = await shop.shop.startCli([...RESNAPSHOT, '--once'], {
      MIGRATE_FAILPOINT: 'sync.copy.before-commit=stop',
    })
    await copying.stdout.find(/"event":"copied","table":"public.user_preferences"/)
    expect(await rows()).toBe(before)
    await eventually(
      () =>
        shop.value<number>(
          'users',
          `select count(*)::int from pg_stat_activity where wait_event = 'ClientRead' and state = 'idle in transaction'`,
        ),
      (open) => open > 0,
    )
    copying.child.kill('SIGCONT')
    expect(await copying.exited).toMatchObject({ code: 0 })
    await expectEqual(shop.sides)
  })

  test.each([
    ['after the old slot is gone', 'sync.copy.slot-dropped'],
    ['before the new rows are committed', 'sync.copy.before-commit'],
  ])('killed %s: a plain sync goes on with it', async (_, place) => {
    await write()
    const before = await rows()
    const killed = await shop.shop.cli([...RESNAPSHOT, '--once'], { MIGRATE_FAILPOINT: `${place}=kill` })
    expect(killed.signal).toBe('SIGKILL')
    expect(await rows()).toBe(before)
    expect(await shop.run(['sync', 'users', '--once'])).toMatchObject({ code: 0 })
    await expectEqual(shop.sides)
  })

  test('is refused where the rows may be in use, naming the way back', async () => {
    expect(await shop.run(['route', 'set', 'users', '--percent', '10'])).toMatchObject({ code: 0 })
    const { code, issue } = await shop.run(RESNAPSHOT)
    expect([code, issue?.code]).toEqual([4, 'RESNAPSHOT_REFUSED'])
    expect(issue?.hint).toContain('migrate route set users --off')
    expect(await shop.run(['route', 'set', 'users', '--off'])).toMatchObject({ code: 0 })
    await repaired()
  })
})
