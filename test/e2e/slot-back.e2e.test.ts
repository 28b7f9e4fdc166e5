import { afterAll, beforeAll, expect, test } from 'vitest'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import type { ServiceStatus, StatusSnapshot } from '../../src/app/status.ts'
import { BACK, dropSlotOf, endOf, outcome, SLOT, type SlotShop, startSlotShop } from '../support/slot-shop.ts'
import { eventually, expectEqual } from '../support/two-sides.ts'

// A slot that owes nothing is made again by the worker; one that does is never.

let shop: SlotShop
let worker: RunningProcess
beforeAll(async () => {
  shop = await startSlotShop()
  await dropCrossingForeignKeys(shop.sides.monolith, 'users')
  worker = await shop.shop.startSync()
})
afterAll(() => shop[Symbol.asyncDispose]())

const ok = async (...args: string[]): Promise<void> => expect(outcome(await shop.run(args))).toBe('0')
/** How often slots were made again so far; and waits for one time more. */
const remade = () =>
  shop.value<number>('monolith', `select count(*)::int from migrate.audit where action = 'make slot again'`)
const remadeAfter = (count: number): Promise<number> => eventually(remade, (now) => now > count)

async function status(): Promise<ServiceStatus> {
  const { data } = await shop.run(['status', 'users'])
  return (data as StatusSnapshot).services[0] as ServiceStatus
}

async function follows(direction: 'forward' | 'reverse'): Promise<void> {
  await eventually(status, ({ sync }) => sync.some((one) => one.direction === direction && one.alive))
}

test('at stage route the way back is made again', async () => {
  await ok('route', 'set', 'users', '--percent', '10')
  await follows('reverse')
  await dropSlotOf(shop.sides.users, BACK)
  expect(await remadeAfter(0)).toBe(1)
  await follows('reverse')
})

test('so it is when its publication has lost a table, which nobody else would notice', async () => {
  const before = await remade()
  await shop.sides.users.query(`alter publication ${BACK} drop table user_preferences`)
  await remadeAfter(before)
  const tables = `select count(*)::int from pg_publication_tables where pubname = '${BACK}'`
  expect(await shop.value('users', tables)).toBe(2)
  await follows('reverse')
})

test('at stage dual-write a lost slot has a way back to a new copy, without a worker', async () => {
  await ok('dual-write', 'users')
  await dropSlotOf(shop.sides.monolith, SLOT)
  expect(outcome(await endOf(worker))).toBe('8 SLOT_LOST')
  const refused = await shop.run(['sync', 'users', '--resnapshot', '--confirm', 'users'])
  expect([outcome(refused), refused.issue?.hint]).toEqual([
    '4 RESNAPSHOT_REFUSED',
    expect.stringContaining('`migrate dual-write users --off`, then `migrate route set users --off`'),
  ])
  await ok('dual-write', 'users', '--off')
  await ok('route', 'set', 'users', '--off')
  await ok('sync', 'users', '--resnapshot', '--confirm', 'users', '--once')
  await expectEqual(shop.sides)
})

test('back at stage sync the way back goes on, so that it keeps no log', async () => {
  worker = await shop.shop.startSync()
  await follows('reverse')
  expect((await status()).stage).toBe('sync')
})

test('a paused service is not cut over', async () => {
  await ok('route', 'set', 'users', '--percent', '10')
  await follows('reverse')
  await ok('dual-write', 'users')
  await ok('sync', 'ctl', 'pause', 'users')
  const { code, issue } = await shop.run(['cutover', 'users'])
  expect([code, issue?.code, issue?.message]).toEqual([
    ...[4, 'GATE_FAILED', expect.stringMatching(/sync paused: by .+ since/)],
  ])
  expect(issue?.hint).toContain('migrate sync ctl resume users')
  await ok('sync', 'ctl', 'resume', 'users')
})

test('at stage live the monolith owes nothing: its slot is made again, and a rollback is possible', async () => {
  await ok('cutover', 'users')
  const before = await remade()
  await dropSlotOf(shop.sides.monolith, SLOT)
  await remadeAfter(before)
  await follows('forward')
  await ok('rollback', 'users')
  await shop.sides.monolith.query(`update users set name = 'after the rollback' where id = 1`)
  await expectEqual(shop.sides)
  await ok('cutover', 'users')
})

test('at stage live the lost way back ends the sync, and says what is lost', async () => {
  await dropSlotOf(shop.sides.users, BACK)
  expect(outcome(await endOf(worker))).toBe('8 WAY_BACK_LOST')
  const again = await shop.run(['sync', 'users'])
  expect(outcome(again)).toBe('8 WAY_BACK_LOST')
  expect(again.issue?.hint).toContain('`migrate rollback users` stays refused')
  expect(outcome(await shop.run(['rollback', 'users']))).toBe('4 GATE_FAILED')
})
