import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import { asLsn } from '../model/lsn.ts'
import { newCounters, type Progress } from '../model/progress.ts'
import type { Database, Sql } from '../model/sql.ts'
import { openDatabase } from '../stores/postgres/database.ts'
import { installSchema } from './install.ts'
import { adoptRun, beginStep, closeRun, endStep, lastRun, openRun, unfinishedRun } from './journal.ts'
import { readProgress, writeProgress } from './progress.ts'
import { changeService, POLICY_CHANNEL, readService } from './services.ts'

let server: PostgresServer
let database: Database
beforeAll(async () => {
  server = await startPostgres({ name: 'control' })
  database = open('postgres')
  await installSchema(database, ['gate', 'control', 'target'])
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

function open(name: string): Database {
  return openDatabase({ url: server.url(name), role: 'control', applicationName: 'migrate/test' })
}

/** Parts and versions by the files that there are. */
function numbered(): { part: string; version: number }[] {
  return ['control', 'gate', 'service', 'target'].flatMap((part) =>
    readdirSync(new URL(`./schema/${part}/`, import.meta.url)).map((_, i) => ({ part, version: i + 1 })),
  )
}

describe('installing', () => {
  let fresh = 0
  async function empty(): Promise<Database> {
    const name = `fresh${++fresh}`
    await database.query(`create database ${name}`)
    return open(name)
  }

  test('from several processes at once makes it once', async () => {
    await using target = await empty()
    await using other = open(`fresh${fresh}`)
    await Promise.all(
      [target, other, target, other].map((each) => installSchema(each, ['gate', 'control', 'target', 'service'])),
    )
    const { rows } = await target.query(`select part, version from migrate.schema_version order by part, version`)
    expect(rows).toEqual(numbered())
    await installSchema(target, ['gate'])
  })

  test('adds the parts that are missing', async () => {
    await using target = await empty()
    await installSchema(target, ['target'])
    await installSchema(target, ['target', 'service'])
    expect((await target.query(`select from migrate.checkpoint, migrate.gate`)).rows).toEqual([])
  })

  test('refuses a database that a newer program has made', async () => {
    await using target = await empty()
    await installSchema(target, ['target'])
    await target.query(`insert into migrate.schema_version values ('target', 99)`)
    await expect(installSchema(target, ['target'])).rejects.toMatchObject({
      code: 'CONTROL_OUTDATED',
      context: { found: 99, expected: numbered().filter(({ part }) => part === 'target').length },
    })
  })

  test('that fails leaves nothing half done', async () => {
    await using target = await empty()
    await target.query(`create schema migrate; create table migrate.checkpoint ()`)
    await expect(installSchema(target, ['service', 'target'])).rejects.toMatchObject({ context: { sqlstate: '42P07' } })
    expect((await target.query(`select to_regclass('migrate.gate') as gate`)).rows).toEqual([{ gate: null }])
  })
})

describe('changing a service', () => {
  const audit = { who: 'me', action: 'test' }
  let service = ''
  let count = 0
  beforeEach(() => {
    service = `service${++count}`
  })

  test('one that was never touched is off', async () => {
    expect(await readService(database, service)).toEqual({
      service,
      stage: 'off',
      percent: 0,
      legs: false,
      holdRun: null,
      version: 0,
    })
  })

  test('each change is one audit row with before and after, and one notification', async () => {
    const told: string[] = []
    const listening = database.listen(POLICY_CHANNEL, (payload) => told.push(payload))
    while (told.length === 0) await database.query(`select pg_notify('${POLICY_CHANNEL}', 'ready')`)
    const version = await changeService(database, service, 'off', { stage: 'sync' }, { ...audit, reason: 'why' })
    while (!told.includes(String(version))) await database.query(`select 1`)
    await listening[Symbol.asyncDispose]()
    const { rows } = await database.query(
      `select who, action, reason, before, after from migrate.audit where service = $1`,
      [service],
    )
    expect(rows).toEqual([
      {
        ...{ who: 'me', action: 'test', reason: 'why' },
        before: expect.objectContaining({ stage: 'off' }) as object,
        after: { service, stage: 'sync', percent: 0, legs: false, holdRun: null, version },
      },
    ])
  })

  test('versions become visible in their order: a router that has seen 7 has seen 6', async () => {
    // the first change stops between taking its version and its commit
    await database.query(`create function stop_here() returns trigger language plpgsql as $$
      begin perform pg_advisory_xact_lock_shared(99); return new; end $$`)
    await database.query(`create trigger stop_here before insert on migrate.audit for each row
      when (new.service = '${service}') execute function stop_here()`)
    const waiting = `select 1 from pg_locks where locktype = 'advisory' and not granted`
    const changes: Promise<number>[] = []
    let done = false
    const overtaken = await database.transaction(async (sql) => {
      await sql.query(`select pg_advisory_xact_lock(99)`)
      changes.push(changeService(database, service, 'off', { percent: 1 }, audit))
      while ((await sql.query(waiting)).rowCount < 1);
      changes.push(changeService(database, `${service}-other`, 'off', { percent: 2 }, audit))
      void changes[1]?.then(() => (done = true))
      while ((await sql.query(waiting)).rowCount < 2 && !done);
      return done
    })
    const [first = 0, second = 0] = await Promise.all(changes)
    await database.query(`drop trigger stop_here on migrate.audit; drop function stop_here`)
    expect({ overtaken, inOrder: first < second }).toEqual({ overtaken: false, inOrder: true })
  })

  test.each([
    ['off', 'route', 'sync'],
    ['off', 'live', 'sync'],
  ] as const)('a jump from %s to %s is refused with the legal ones, nothing changes', async (from, to, legal) => {
    await expect(changeService(database, service, from, { stage: to }, audit)).rejects.toMatchObject({
      code: 'STAGE_ILLEGAL',
      context: { service, from, to, legal },
    })
    expect(await readService(database, service)).toMatchObject({ stage: 'off', version: 0 })
    expect((await database.query(`select 1 from migrate.audit where service = $1`, [service])).rowCount).toBe(0)
  })

  test('every step of the way and back', async () => {
    const way = ['off', 'sync', 'route', 'dual-write', 'live', 'dual-write', 'route', 'sync', 'off'] as const
    for (const [i, stage] of way.slice(1).entries())
      await changeService(database, service, way[i] ?? 'off', { stage }, audit)
    expect(await readService(database, service)).toMatchObject({ stage: 'off' })
  })

  test('a change that expects another stage is refused', async () => {
    await changeService(database, service, 'off', { stage: 'sync' }, audit)
    await expect(changeService(database, service, 'off', { percent: 5 }, audit)).rejects.toMatchObject({
      code: 'STAGE_ILLEGAL',
      context: { from: 'sync' },
    })
  })

  test('a run that was overtaken changes nothing', async () => {
    await changeService(database, service, 'off', { hold: { run: 8, milliseconds: 60_000 } }, audit, 8)
    await expect(changeService(database, service, 'off', { hold: null }, audit, 7)).rejects.toMatchObject({
      code: 'TAKEN_OVER',
    })
    expect(await readService(database, service)).toMatchObject({ holdRun: 8 })
    await changeService(database, service, 'off', { hold: null }, audit, 8)
    expect(await readService(database, service)).toMatchObject({ holdRun: null })
  })
})

describe('the journal', () => {
  const run = { service: 'journal', kind: 'cutover', epoch: 1 } as const
  const lease = { name: 'move/journal', epoch: 3 }
  beforeAll(() =>
    database.query(`insert into migrate.lease values ('move/journal', 3, 'test', now(), now() + interval '1 hour')`),
  )

  test('has one unfinished run a service, with its steps', async () => {
    expect(await unfinishedRun(database, 'journal')).toBeNull()
    await expect(openRun(database, { ...lease, epoch: 2 }, run)).rejects.toMatchObject({ code: 'TAKEN_OVER' })
    const opened = await openRun(database, lease, run)
    expect(await unfinishedRun(database, 'journal')).toEqual({ id: opened.id, ...run, fencing: 3, state: 'running' })
    await expect(openRun(database, lease, run)).rejects.toMatchObject({ context: { sqlstate: '23505' } })
    await beginStep(database, opened, 'hold')
    await endStep(database, opened, 'hold', { held: 3 })
    await beginStep(database, opened, 'fence')
    expect(await steps(database, opened.id)).toEqual([
      { name: 'hold', done: true, data: { held: 3 } },
      { name: 'fence', done: false, data: {} },
    ])
    // a run that is taken up again begins its last step again
    await beginStep(database, opened, 'hold')
    expect((await steps(database, opened.id))[0]).toMatchObject({ name: 'hold', done: false })
    const adopted = await adoptRun(database, opened, 4)
    await expect(beginStep(database, opened, 'legs')).rejects.toMatchObject({ code: 'TAKEN_OVER' })
    await expect(adoptRun(database, opened, 3)).rejects.toMatchObject({ code: 'TAKEN_OVER' })
    await beginStep(database, adopted, 'legs')
    // what the first process still says changes nothing
    await endStep(database, opened, 'legs', { late: true })
    expect(await steps(database, opened.id)).toContainEqual({ name: 'legs', done: false, data: {} })
    await closeRun(database, opened, 'done', 'late')
    expect(await unfinishedRun(database, 'journal')).toEqual(adopted)
    await closeRun(database, adopted, 'aborted', 'because')
    await expect(beginStep(database, adopted, 'fence')).rejects.toMatchObject({ code: 'TAKEN_OVER' })
    expect(await unfinishedRun(database, 'journal')).toBeNull()
    await closeRun(database, adopted, 'done', 'too late')
    expect(await lastRun(database, 'journal')).toMatchObject({ id: opened.id, state: 'aborted', reason: 'because' })
    expect((await openRun(database, lease, run)).id).toBeGreaterThan(opened.id)
  })

  async function steps(sql: Sql, id: number) {
    const { rows } = await sql.query(
      `select name, done_at is not null as done, data from migrate.step where run = $1 order by name desc`,
      [id],
    )
    return rows
  }
})

test('an older worker does not overwrite the progress of a newer one', async () => {
  const counters = { ...newCounters(), transactions: 1, rows: 2 }
  const progress: Progress = {
    ...{ service: 'p', direction: 'forward', worker: 'a/1', epoch: 4, phase: 'streaming', state: 'apply' },
    ...{ applied: null, source: null, hold: false, counters },
    ...{ lagSeconds: 0.25, throttled: null, walEnd: asLsn(77n), walRate: null },
  }
  await writeProgress(database, progress, false)
  await writeProgress(database, { ...progress, epoch: 3, worker: 'old/1' }, true)
  expect(await readProgress(database, 'p', 'forward')).toMatchObject({
    ...{ worker: 'a/1', epoch: 4, counters, lagSeconds: 0.25, walEnd: 77n },
  })
  await writeProgress(database, { ...progress, epoch: 5, worker: 'new/1' }, false)
  expect(await readProgress(database, 'p', 'forward')).toMatchObject({ worker: 'new/1', epoch: 5 })
  expect(await readProgress(database, 'p', 'reverse')).toBeNull()
})
