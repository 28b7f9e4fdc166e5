// What a run that was frozen and overtaken still sends, and what a crash in the middle of a call leaves behind: the
// schedules that no signal hits by chance, one statement at a time, on the databases of a running move.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unfinishedRun } from '../../src/control/journal.ts'
import { changeService } from '../../src/control/services.ts'
import type { Database } from '../../src/model/sql.ts'
import { claimCheckpoint } from '../../src/stores/postgres/checkpoint.ts'
import { openDatabase } from '../../src/stores/postgres/database.ts'
import {
  liftFence,
  readAuthority,
  renewAuthority,
  shutGate,
  switchAuthority,
  switchBack,
  takeFence,
} from '../../src/stores/postgres/fence.ts'
import { changePipeline, clearTouched, sealPipeline, takeTouched } from '../../src/stores/postgres/pipeline-control.ts'
import { setServiceGate } from '../../src/stores/postgres/service-gate.ts'
import { FULL } from '../support/full.ts'
import { connect, type MovingShop, startMovingShop, succeed } from '../support/moving-shop.ts'
import { controlState, eventually, expectOneWriter } from '../support/two-sides.ts'
import { write } from '../support/writers.ts'

const REVERSE = 'shop_users/reverse'
const stack = new AsyncDisposableStack()
let moving: MovingShop
let monolith: Database
let users: Database

beforeAll(async () => {
  moving = await startMovingShop(stack)
  monolith = stack.use(
    openDatabase({ url: moving.shop.monolith.apply, role: 'monolith', applicationName: 'migrate/late' }),
  )
  users = stack.use(openDatabase({ url: moving.shop.users.apply, role: 'users', applicationName: 'migrate/late' }))
})
afterAll(() => stack.disposeAsync())

test('a switch back that breaks off before its commit does not let the monolith write', async () => {
  await moving.ensure('live')
  const { epoch } = await moving.standing()
  const run = await nextRun()
  await monolith
    .transaction(async (sql) => {
      await sql.query(`select migrate.switch_back('users', $1, $2)`, [run, epoch])
      throw new Error('the power fails here')
    })
    .catch(() => undefined)
  await expectOneWriter(moving.apps, 'service')
  await moving.expectSound()
})

test('a worker that claims the reverse pipeline while a rollback is put back does not go on under the old epoch', async () => {
  await moving.ensure('live')
  // the run's own worker would claim first
  await moving.sync.stop()
  const { epoch } = await moving.standing()
  const run = await nextRun()
  expect(await sealPipeline(monolith, REVERSE, run, null)).toBe(true)
  const claim = claimCheckpoint(monolith, REVERSE, async () => {
    const { epoch: read } = await readAuthority(monolith, 'users')
    await renewAuthority(monolith, 'users', run, epoch, REVERSE)
    return { state: 'apply', authorityEpoch: read }
  })
  await expect(claim).rejects.toMatchObject({ code: 'TAKEN_OVER' })
  moving.sync = await moving.shop.startSync()
  await moving.expectSound()
})

test('a rollback that was put back leaves no start token behind', async () => {
  await moving.ensure('live')
  await moving.rollback({ MIGRATE_FAILPOINT: 'rollback.seal.after=kill' })
  // recovers it; there is nothing to cut over
  expect((await moving.cutover()).code).toBe(4)
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  await moving.expectSound()
})

test('keys noted for a newer run are not forgotten by an older one', async () => {
  await moving.ensure('dual-write')
  const run = await nextRun()
  await changePipeline(users, 'shop_users/forward', run, { tracking: run })
  await eventually(
    async () => (await users.query(`select 1 from migrate.touched where tracking = $1`, [run])).rows.length,
    (found) => found > 0,
  )
  await clearTouched(users, 'shop_users/forward', run - 1)
  expect((await takeTouched(users, 'shop_users/forward', run)).length).toBeGreaterThan(0)
  await changePipeline(users, 'shop_users/forward', run, { tracking: null })
  await clearTouched(users, 'shop_users/forward', run)
})

test('a long transaction of the service keeps a rollback from closing its gate, not from being put back', async () => {
  await moving.ensure('live')
  const busy = await connect(moving.shop.users.app)
  await busy.query('begin')
  await busy.query('update users set name = name where id = 20')
  const refused = await moving.rollback()
  expect([refused.code, refused.stdout]).toEqual([6, expect.stringContaining('FENCE_BUSY')])
  expect(await unfinishedRun(monolith, 'users')).toBeNull()
  await busy.query('commit')
  await busy.end()
  await moving.expectSound()
})

test.runIf(FULL)(
  'a long transaction of the monolith that passed a fence that was over does not stop the next run',
  async () => {
    await moving.ensure('dual-write')
    await moving.cutover({ MIGRATE_FAILPOINT: 'cutover.fence.after=kill' })
    await eventually(
      () => write(moving.apps.monolith, 'update users set name = name where false'),
      (code) => code === null,
    )
    const busy = await connect(moving.shop.monolith.app)
    await busy.query('begin')
    await busy.query('update users set name = name where id = 20')
    const run = await moving.cutover()
    expect([run.code, run.stdout]).toEqual([6, expect.stringContaining(`pid ${await pidOf(busy)}`)])
    expect(await unfinishedRun(monolith, 'users')).toBeNull()
    await busy.query('commit')
    await busy.end()
    await succeed(moving.cutover())
    await moving.expectSound()
  },
)

test('nothing that a run sends counts once a newer one has been there', async () => {
  await moving.ensure('live')
  await moving.ensure('dual-write')
  await moving.expectSound()
  await moving.writers.rest()
  const before = await controlState(moving.sides)
  const { rows } = await monolith.query<{ run: number }>(
    `select least((select min(run) from migrate.fence), (select min(run) from migrate.service),
       (select min(run) from migrate.checkpoint))::int as run`,
  )
  const late = (rows[0]?.run ?? 0) - 1
  const { epoch } = await moving.standing()
  const takenOver = { code: 'TAKEN_OVER' }
  const audit = { who: 'late', action: 'late' }
  const hold = { run: late, milliseconds: 1_000 }
  const signal = new AbortController().signal
  await expect(changeService(monolith, 'users', 'dual-write', { hold }, audit, late)).rejects.toMatchObject(takenOver)
  await expect(takeFence(monolith, 'users', late, 3_000, signal)).rejects.toMatchObject(takenOver)
  expect(await liftFence(monolith, 'users', late)).toBe(false)
  await expect(switchAuthority(monolith, 'users', late, 0n, epoch)).rejects.toMatchObject({ code: 'SWITCH_REFUSED' })
  await expect(switchBack(monolith, 'users', late, epoch)).rejects.toMatchObject(takenOver)
  await expect(renewAuthority(monolith, 'users', late, epoch, REVERSE)).rejects.toMatchObject(takenOver)
  for (const [database, pipeline] of [
    [users, 'shop_users/forward'],
    [monolith, REVERSE],
  ] as const) {
    expect(await changePipeline(database, pipeline, late, { state: 'discard', hold: false, tracking: late })).toBe(
      false,
    )
    expect(await sealPipeline(database, pipeline, late, null)).toBe(false)
  }
  for (const mode of ['closed', 'open'] as const) {
    await expect(setServiceGate(users, 'users', late, epoch, mode)).rejects.toMatchObject(takenOver)
  }
  await expect(setServiceGate(users, 'users', late + 9_000, epoch - 1, 'open')).rejects.toMatchObject(takenOver)
  // shut carries no run: it closes what the authority row has closed already, and nothing else
  await shutGate(monolith, 'users')
  expect(await controlState(moving.sides)).toEqual(before)
  moving.writers.go()
})

async function pidOf(client: { query(text: string): Promise<{ rows: { pid: number }[] }> }): Promise<number> {
  return (await client.query('select pg_backend_pid() as pid')).rows[0]?.pid ?? 0
}

/** A fencing token as the next run would get it. */
async function nextRun(): Promise<number> {
  const { rows } = await monolith.query<{ epoch: number }>(
    `update migrate.lease set epoch = epoch + 1 where name = 'move/users' returning epoch::float8 as epoch`,
  )
  return rows[0]?.epoch ?? 0
}
