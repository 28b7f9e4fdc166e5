import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { startProcess } from '../../fixtures/servers/process.ts'

const SLOT = 'migrate_shop_users'
const TABLES = [
  ['users', 'id'],
  ['user_preferences', 'user_id, key'],
] as const

let shop: Shop
/** as the application of the monolith, and as superusers */
let app: pg.Client
let monolith: pg.Client
let users: pg.Client
const opened: pg.Client[] = []

beforeAll(async () => {
  shop = await startShop({ size: 'small' })
  await connect()
})
afterAll(async () => {
  await Promise.all(opened.map((each) => each.end()))
  await shop[Symbol.asyncDispose]()
})

/** Again after a restart of a server. */
async function connect(): Promise<void> {
  await Promise.all(opened.splice(0).map((each) => each.end()))
  app = await client(shop.monolith.app, 'shop')
  monolith = await client(shop.monolith.superuser)
  users = await client(shop.users.superuser)
}

async function client(url: string, name = 'test'): Promise<pg.Client> {
  const connected = new pg.Client({ connectionString: url, application_name: name })
  // some tests restart the server; whoever uses the connection next gets the error
  connected.on('error', () => undefined)
  await connected.connect()
  opened.push(connected)
  return connected
}

async function value<T>(of: pg.Client, sql: string): Promise<T> {
  const { rows } = await of.query<{ value: T }>(`select (${sql}) as value`)
  return rows[0]?.value as T
}

/** md5 of all rows in their text form, by table. */
async function hashes(of: pg.Client): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const [table, key] of TABLES) {
    found[table] = await value(
      of,
      `select count(*) || ' ' || coalesce(md5(string_agg(r::text, '|' order by ${key})), '') from ${table} r`,
    )
  }
  return found
}

/** Nobody must be writing. */
async function expectEqual(): Promise<void> {
  expect(await hashes(users)).toEqual(await hashes(monolith))
}

/** Waits until a running worker has applied what is committed now. */
async function applied(): Promise<void> {
  const at = await value<string>(monolith, `pg_current_wal_insert_lsn()::text`)
  const behind = `select 1 from migrate.progress where service = 'users' and direction = 'forward' and applied >= $1::pg_lsn`
  while ((await monolith.query(behind, [at])).rowCount === 0);
}

/** Writes as the monolith does, without a pause, until stopped; every kind of change. */
function startWriting(): { stop(): Promise<number> } {
  let writing = true
  const loop = (async () => {
    let n = 0
    for (; writing; n++) {
      await app.query('begin')
      await app.query(`update users set loyalty_points = loyalty_points + 1 where id = $1`, [1 + (n % 50)])
      await app.query(
        `insert into user_preferences values ($1, 'w', to_jsonb($2::int)) on conflict (user_id, key) do update set value = excluded.value`,
        [1 + (n % 97), n],
      )
      if (n % 3 === 0) await app.query(`delete from user_preferences where user_id = $1 and key = 'w'`, [1 + (n % 89)])
      if (n % 4 === 0)
        await app.query(
          `insert into users (email, name, bio) values ('w' || clock_timestamp() || $1::int, 'w', repeat(md5($1::text), 300))`,
          [n],
        )
      if (n % 5 === 0)
        await app.query(`update users set bio = repeat(md5($1::text), 200) where id = $2`, [
          String(n),
          50 * (1 + (n % 10)),
        ])
      if (n % 7 === 0) await app.query(`delete from users where id = (select max(id) from users where name = 'w')`)
      await app.query('commit')
    }
    return n
  })()
  return {
    stop() {
      writing = false
      return loop
    },
  }
}

async function withConfig(change: (text: string) => string, run: () => Promise<void>): Promise<void> {
  const text = await readFile(shop.config, 'utf8')
  const changed = change(text)
  expect(changed).not.toBe(text)
  await writeFile(shop.config, changed)
  try {
    await run()
  } finally {
    await writeFile(shop.config, text)
  }
}

interface Envelope {
  readonly status: string
  readonly data: { readonly slot?: string; readonly findings?: { check: string; message: string; fix: string }[] }
  readonly issues: { code: string; message: string; hint: string }[]
}
const envelope = (stdout: string): Envelope => JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Envelope

describe('what could hurt the monolith is refused before anything is done', () => {
  const nothingDone = async (): Promise<void> => {
    expect(await value(monolith, `select count(*)::int from pg_publication`)).toBe(0)
    expect(await value(monolith, `select count(*)::int from pg_replication_slots`)).toBe(0)
    expect(await value(users, `select count(*)::int from users`)).toBe(0)
  }

  test('a table without a primary key: exit 3 with the SQL, and the monolith changes its rows as before', async () => {
    await app.query(
      `set role shop_owner; create table notes (user_id bigint, body text); insert into notes values (1, 'a'), (2, 'b'); reset role`,
    )
    await users.query(`set role users_owner; create table notes (user_id bigint, body text); reset role`)
    await withConfig(
      (text) => text.replace('user_preferences]', 'user_preferences, notes]'),
      async () => {
        const { code, stdout } = await shop.cli(['sync', 'users'])
        expect(code).toBe(3)
        expect(envelope(stdout)).toMatchObject({ status: 'findings' })
        expect(envelope(stdout).data.findings).toContainEqual(
          expect.objectContaining({
            check: 'replica-identity',
            fix: expect.stringMatching(/^alter table .*notes.* add .*primary key/) as string,
          }),
        )
      },
    )
    expect((await app.query(`update notes set body = 'c' where user_id = 1`)).rowCount).toBe(1)
    expect((await app.query(`delete from notes where user_id = 2`)).rowCount).toBe(1)
    await nothingDone()
  })

  test('a monolith that logs in as the apply role: exit 3', async () => {
    const same = await client(shop.monolith.apply, 'shop')
    const { code, stdout } = await shop.cli(['sync', 'users'])
    expect([code, envelope(stdout).data.findings?.map(({ check }) => check)]).toEqual([3, ['apply-role']])
    expect(stdout).toContain('seen: shop')
    await same.end()
    opened.splice(opened.indexOf(same), 1)
    await withConfig(
      (text) => text.replace('role: shop_app', 'role: migrate_apply'),
      async () => {
        const again = await shop.cli(['sync', 'users'])
        expect([again.code, envelope(again.stdout).data.findings?.map(({ check }) => check)]).toEqual([
          3,
          ['apply-role'],
        ])
      },
    )
    await nothingDone()
  })
})

describe('sync --once', () => {
  test('copies, applies what was committed before it started, names its slot and how to drop it', async () => {
    const writing = startWriting()
    await using once = await startProcess({
      name: 'once',
      command: process.execPath,
      args: [join(import.meta.dirname, '../../dist/src/cli.js'), '--config', shop.config, 'sync', 'users', '--once'],
      env: shop.env,
      log: join(shop.folder, 'once.log'),
    })
    const { code } = await once.exited
    expect([code, once.stderr.text()]).toEqual([0, expect.stringContaining('copied public.users: ')])
    expect(once.stdout.text()).toContain(`select pg_drop_replication_slot('${SLOT}');`)
    await writing.stop()
    expect(await value(users, `select count(*)::int from users`)).toBeGreaterThanOrEqual(500)
  })

  test('again applies what has come since, to the last commit before it started', async () => {
    await expectDifferent()
    const { code, stdout } = await shop.cli(['sync', 'users', '--once'])
    expect([code, envelope(stdout).data.slot]).toEqual([0, SLOT])
    await expectEqual()
  })

  async function expectDifferent(): Promise<void> {
    await app.query(`update users set name = name || '!' where id <= 100`)
    expect(await hashes(users)).not.toEqual(await hashes(monolith))
  }
})

describe('a worker that follows', () => {
  test('ends in order with ^C (130); the next one goes on from there', async () => {
    const writing = startWriting()
    await using first = await shop.startSync()
    await applied()
    expect(await first.stop('SIGINT')).toEqual({ code: 130, signal: null })
    await writing.stop()
    await using second = await shop.startSync()
    await applied()
    await expectEqual()
    expect(await second.stop('SIGTERM')).toEqual({ code: 143, signal: null })
  })

  test('keeps a second one out: exit 5, at the first sign of life', async () => {
    await using worker = await shop.startSync()
    const from = performance.now()
    const { code, stdout } = await shop.cli(['sync', 'users'])
    expect([code, envelope(stdout).issues[0]?.code]).toEqual([5, 'LOCKED'])
    expect(performance.now() - from).toBeLessThan(8_000)
    await app.query(`update users set name = 'still followed' where id = 1`)
    await applied()
    await expectEqual()
    await worker.stop('SIGINT')
  })

  test.each([
    ['of this machine', `holder`, 5_000],
    ['of another machine', `'elsewhere/1'`, 15_000],
  ])('that is dead and was %s is taken over', async (_, holder, within) => {
    const dead = await shop.startSync()
    await dead.kill9()
    await monolith.query(`update migrate.lease set holder = ${holder} where name = 'sync/users'`)
    await app.query(`update users set name = 'taken over' where id = 2`)
    const from = performance.now()
    await using next = await shop.startSync()
    await applied()
    expect(performance.now() - from).toBeLessThan(within)
    await expectEqual()
    await next.stop('SIGINT')
  })

  test('killed between the commit in the target and its acknowledgement, again and again: every row is equal', async () => {
    const writing = startWriting()
    for (let round = 0; round < 6; round++) {
      const dying = await shop.startSync({ MIGRATE_FAILPOINT: 'sync.forward.before-ack=kill' })
      expect(await dying.exited).toEqual({ code: null, signal: 'SIGKILL' })
    }
    expect(await writing.stop()).toBeGreaterThan(50)
    // what the dead ones have committed was not acknowledged
    const confirmed = `select confirmed_flush_lsn from pg_replication_slots where slot_name = '${SLOT}'`
    const acknowledged = await value<string>(monolith, confirmed)
    expect(await value(users, `select max(commit_lsn) > '${acknowledged}' from migrate.checkpoint`)).toBe(true)
    await using worker = await shop.startSync()
    await applied()
    await expectEqual()
    await worker.stop('SIGINT')
  })

  test.each(['monolith', 'users'] as const)('outlives a restart of the server of %s', async (side) => {
    await using worker = await shop.startSync()
    await shop[`${side}Server`].restart()
    await connect()
    await app.query(`update users set name = 'after the restart of ${side}' where id = 3`)
    await worker.stdout.find(/"event":"retrying","direction":"forward"/)
    await applied()
    await expectEqual()
    expect(await worker.stop('SIGINT')).toMatchObject({ code: 130 })
  })
})

test('a slot that is gone: exit 8, and nothing is changed', async () => {
  await monolith.query(`select pg_drop_replication_slot('${SLOT}')`)
  await app.query(`update users set name = 'lost' where id = 4`)
  const before = [
    await hashes(users),
    await value(users, `select to_jsonb(array_agg(commit_lsn::text || state)) from migrate.checkpoint`),
  ]
  const { code, stdout } = await shop.cli(['sync', 'users'])
  expect([code, envelope(stdout).issues[0]?.code]).toEqual([8, 'SLOT_LOST'])
  expect([
    await hashes(users),
    await value(users, `select to_jsonb(array_agg(commit_lsn::text || state)) from migrate.checkpoint`),
  ]).toEqual(before)
  expect(await value(monolith, `select count(*)::int from pg_replication_slots where slot_name = '${SLOT}'`)).toBe(0)
  // nor by a second try
  expect(await shop.cli(['sync', 'users', '--once'])).toMatchObject({ code: 8 })
})
