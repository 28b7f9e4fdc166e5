import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CliRun, type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import type { ServiceReport } from '../../src/reconcile/report.ts'

const stack = new AsyncDisposableStack()
let shop: Shop
let sync: RunningProcess
/** superusers: what they write with replication triggers off, no gate and no service sees */
let monolith: pg.Client
let users: pg.Client

beforeAll(async () => {
  shop = stack.use(await startShop({ size: 'small' }))
  monolith = await connect(shop.monolith.superuser)
  users = await connect(shop.users.superuser)
  await dropCrossingForeignKeys(monolith, 'users')
})
afterAll(() => stack.disposeAsync())

describe('reconcile beside the real worker', () => {
  test('has nothing to compare before there is a copy, and wants a worker', async () => {
    expect(await issue(shop.cli(['reconcile', 'users']))).toEqual([4, 'NOTHING_TO_COMPARE'])
    expect(await issue(shop.cli(['reconcile', 'users', '--budget', '4']))).toEqual([2, 'USAGE'])
    expect(await issue(shop.cli(['reconcile', '--cron', 'tomorrow']))).toEqual([2, 'USAGE'])
    const once = await shop.cli(['sync', 'users', '--once'])
    expect(once.code).toBe(0)
    expect(await issue(shop.cli(['reconcile', 'users']))).toEqual([4, 'WORKER_MISSING'])
    const offline = await shop.cli(['reconcile', 'users', '--offline'])
    expect([offline.code, reportOf(offline).outcome]).toEqual([0, 'verified'])
  })

  test('raises no false alarm while writes flow, in stage route and in dual-write', async () => {
    sync = await shop.startSync()
    await succeed(shop.cli(['route', 'set', 'users', '--percent', '50']))
    const router = await shop.startRouter()
    const load = await shop.startLoad([
      ...['--target', router.url, '--ledger', join(shop.folder, 'ledger.ndjson'), '--clients', '8', '--seed', '3'],
      ...['--users', '1-400', '--writes', '100', '--reads', '20'],
    ])
    stack.use(load)
    await compareUnderLoad(2)
    await succeed(shop.cli(['dual-write', 'users']))
    await compareUnderLoad(1)
  })

  test('finds under load what somebody else wrote, on hot and on quiet keys, and names no value', async () => {
    await write(users, `update users set name = 'Mallory' where id = 477`)
    await write(users, `delete from users where id = 478`)
    await write(users, `insert into user_preferences values (479, 'planted', '1')`)
    const run = await shop.cli(['reconcile', 'users'])
    expect(run.code).toBe(3)
    expect(run.stdout + run.stderr).not.toContain('Mallory')
    expect(keys(run)).toEqual(['different 477 name', 'extra 479 planted ', 'missing 478 '])
    const status = await shop.cli(['status', 'users'])
    expect(JSON.parse(lastLine(status)).data.services[0].verification).toMatchObject({ drift: 3 })
    const plan = await shop.cli(['cutover', 'users', '--dry-run'])
    expect([plan.code, lastLine(plan)]).toEqual([4, expect.stringContaining('h ago, 3 rows differ')])
    await write(users, `delete from user_preferences where key = 'planted'`)
    await copyUsers()
    await expectVerified(4)
  })

  test('killed in the middle it goes on where it stopped', async () => {
    const killed = await shop.cli(['reconcile', 'users'], { MIGRATE_FAILPOINT: 'reconcile.range.after=kill' })
    expect(killed.signal).toBe('SIGKILL')
    const again = await shop.cli(['reconcile', 'users'])
    expect(reportOf(again)).toMatchObject({ ranges: 1, tables: [{ ranges: { open: 0 } }, { ranges: { open: 0 } }] })
  })

  test('works the other way round when the service has the authority', async () => {
    await expectVerified(4)
    await succeed(shop.cli(['cutover', 'users']))
    // a worker that has not yet been heard of on its new way is waited for, and nothing is behind then
    await expectVerified(4)
    await compareUnderLoad(1)
    await write(monolith, `update users set name = 'Mallory' where id = 477`)
    const run = await shop.cli(['reconcile', 'users', '--tables', 'users', '--strict'])
    expect([run.code, reportOf(run).authority, keys(run)]).toEqual([3, 'service', ['different 477 name']])
  })

  test('with --cron it compares again and again, alone, until it is stopped', async () => {
    await using cron = await shop.startCli(['reconcile', 'users', '--cron', '* * * * * *'], {}, /"event":"next"/)
    await cron.stdout.find(/"schema":"migrate.reconcile\/1"/, AbortSignal.timeout(10_000))
    await sync.stop()
    await cron.stdout.find(/"event":"failed","code":"WORKER_MISSING"/, AbortSignal.timeout(15_000))
    expect(await cron.stop()).toEqual({ code: 143, signal: null })
  })
})

/** Compares so many times: nothing is ever called drift, some rows were on their way, and at last all is verified. */
async function compareUnderLoad(times: number): Promise<void> {
  let rechecked = 0
  for (let run = 0; run < times; run++) {
    const compared = await behind(() => shop.cli(['reconcile', 'users']))
    expect(keys(compared), lastLine(compared)).toEqual([])
    expect([0, 3]).toContain(compared.code)
    rechecked += reportOf(compared).rechecked
  }
  expect(rechecked).toBeGreaterThan(0)
  await expectVerified(4)
}

/** Freezes the worker meanwhile, for two seconds at most: the copy falls behind. */
async function behind<T>(work: () => Promise<T>): Promise<T> {
  sync.child.kill('SIGSTOP')
  const thaw = setTimeout(() => sync.child.kill('SIGCONT'), 2_000)
  try {
    return await work()
  } finally {
    clearTimeout(thaw)
    sync.child.kill('SIGCONT')
  }
}

/** Hot keys may stay in flight in one run; not in all of these. */
async function expectVerified(tries: number): Promise<void> {
  const outcomes: string[] = []
  while (outcomes.length < tries && outcomes.at(-1) !== 'verified') {
    outcomes.push(reportOf(await shop.cli(['reconcile', 'users'])).outcome)
  }
  expect(outcomes.at(-1)).toBe('verified')
}

async function write(client: pg.Client, sql: string): Promise<void> {
  await client.query(`begin; set local session_replication_role = replica; alter table users disable trigger migrate_gate;
    alter table user_preferences disable trigger migrate_gate; ${sql};
    alter table users enable always trigger migrate_gate; alter table user_preferences enable always trigger migrate_gate;
    commit`)
}

/** The two rows that were spoilt, as the monolith has them. */
async function copyUsers(): Promise<void> {
  const { rows } = await monolith.query(`select json_agg(u)::text as all from users u where id in (477, 478)`)
  const all = `json_populate_recordset(null::users, ${pg.escapeLiteral(rows[0].all)})`
  await write(users, `delete from users where id in (477, 478)`)
  await write(users, `insert into users overriding system value select * from ${all}`)
}

function reportOf(run: CliRun): ServiceReport {
  const { data } = JSON.parse(lastLine(run)) as { data: { services: ServiceReport[] } | null }
  const report = data?.services[0]
  if (report === undefined) throw new Error(run.stdout + run.stderr)
  return report
}

function keys(run: CliRun): string[] {
  return reportOf(run)
    .tables.flatMap((table) => table.keys)
    .map(({ kind, key, columns }) => `${kind} ${key.join(' ')} ${columns.join(' ')}`)
    .toSorted()
}

async function issue(running: Promise<CliRun>): Promise<unknown[]> {
  const run = await running
  return [run.code, JSON.parse(lastLine(run)).issues[0].code]
}

async function succeed(running: Promise<CliRun>): Promise<void> {
  const run = await running
  expect(run.code, run.stdout + run.stderr).toBe(0)
}

function lastLine(run: CliRun): string {
  return run.stdout.trimEnd().split('\n').at(-1) ?? ''
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: 'test' })
  await client.connect()
  stack.defer(() => client.end())
  return client
}
