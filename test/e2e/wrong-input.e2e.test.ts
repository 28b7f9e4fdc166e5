// What people get wrong, one after the other: thirty inputs, each answered with a code, a sentence and what to do.
//
//  1 unknown command, 2 unknown option      program.test.ts, cli.e2e.test.ts
//  3 a percentage that is none              cli-refusals.e2e.test.ts
//  4 no configuration                       cli.e2e.test.ts, cli-refusals.e2e.test.ts
//  5 YAML syntax, 6 a key twice, 8 an unknown key, 9 a wrong type, 10 an unset variable, 11 a value that looks like
//    YAML, 12 a wrong URL, 15 a table of two services      config/load.test.ts
//  7 an alias bomb (load.test.ts), a huge file              here
// 13 a password in the arguments            init.e2e.test.ts
// 14 source = target, 18 no primary key, 19 wal_level, 20 a pooler, 21 a standby, 22 missing rights, 23 no free
//    slots                                  preflight.int.test.ts, checks/check.test.ts
// 16 a table that is not there (init.e2e.test.ts), 17 tables with strange names            here
// 24 a duration that is none                status.e2e.test.ts
// 25 a second worker                        run.e2e.test.ts
// 26 a confirmation in CI                   no command asks for one yet
// 27 the state of a newer version, a state that somebody has edited            here
// 28 a closed pipe (cli-sync.e2e.test.ts), a full disk, a HOME that cannot be written to   here
// 29 TERM=dumb, CI, 20 columns              terminal.e2e.test.ts
// 30 what a router must refuse              router/gate.test.ts, router/gate.int.test.ts
import { spawn } from 'node:child_process'
import { existsSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { CLI, exitCode, fastest, migrate, textOf } from '../support/cli.ts'
import { connect } from '../support/moving-shop.ts'

let shop: Shop
let monolith: pg.Client
let users: pg.Client
beforeAll(async () => {
  shop = await startShop({ size: 'small' })
  monolith = await connect(shop.monolith.superuser)
  users = await connect(shop.users.superuser)
})
afterAll(async () => {
  await Promise.all([monolith.end(), users.end()])
  await shop[Symbol.asyncDispose]()
})

describe('a configuration', () => {
  test('of 10 MB is refused at once', async () => {
    const config = write(`project: shop\n# ${'x'.repeat(10_000_000)}\n`)
    const { code, stderr } = await migrate(['config', 'validate', '-c', config])
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/CONFIG_SYNTAX {2}\S+:1:1: the file is larger than 1 MiB/),
    ])
    expect(await fastest(5_000, ['config', 'validate', '-c', config])).toBeLessThan(5_000)
  })

  test.each(['x; drop table users', 'a"b', 'a\\nb', '', 'x'.repeat(64)])(
    'with the table %j is refused',
    async (name) => {
      const config = write(withTables([name.replaceAll('"', '\\"')]))
      const { code, stderr } = await migrate(['sync', 'users', '-c', config], shop.env)
      expect([code, stderr]).toEqual([2, expect.stringMatching(/CONFIG_INVALID|CONFIG_SYNTAX/)])
    },
  )
})

test('tables with strange names are copied and followed like any other', async () => {
  const names = ['Ünï', '日本', '😀', 'order', 'select', "it's", '$1', '%s', 'x'.repeat(63)]
  for (const client of [monolith, users]) {
    for (const name of names) {
      const table = pg.escapeIdentifier(name)
      await client.query(
        `create table ${table} (id int primary key, "Ä" text); alter table ${table} owner to migrate_apply`,
      )
    }
  }
  const config = write(withTables(names))
  for (const name of names) await monolith.query(`insert into ${pg.escapeIdentifier(name)} values (1, 'copied')`)
  const copied = await migrate(['sync', 'users', '--once', '-c', config], shop.env)
  expect(copied.code, copied.stderr + copied.stdout).toBe(0)
  for (const name of names) await monolith.query(`update ${pg.escapeIdentifier(name)} set "Ä" = 'followed'`)
  expect((await migrate(['sync', 'users', '--once', '-c', config], shop.env)).code).toBe(0)
  for (const name of names) {
    const { rows } = await users.query(`select * from ${pg.escapeIdentifier(name)}`)
    expect([name, rows]).toEqual([name, [{ id: 1, Ä: 'followed' }]])
  }
  expect((await monolith.query(`select count(*)::int as count from users`)).rows).toEqual([{ count: 500 }])
})

describe('the state', () => {
  test('of a newer version is left alone', async () => {
    await monolith.query(`insert into migrate.schema_version (part, version) values ('control', 99)`)
    for (const args of [['sync', 'users'], ['route', 'set', 'users', '--percent', '1'], ['run']]) {
      const { code, stderr } = await migrate(['-c', shop.config, ...args], shop.env)
      expect([args, code, stderr]).toEqual([args, 2, expect.stringContaining('CONTROL_OUTDATED')])
      expect(stderr).toContain('Use the newer version of migrate.')
    }
    await monolith.query(`delete from migrate.schema_version where version = 99`)
  })

  test('that somebody has edited stops every command, with exit 8', async () => {
    await monolith.query(`update migrate.service set stage = 'almost' where service = 'users'`)
    for (const args of [
      ['status'],
      ['route', 'show'],
      ['route', 'set', 'users', '--percent', '1'],
      ['cutover', 'users'],
    ]) {
      const { code, stderr } = await migrate(['-c', shop.config, ...args], shop.env)
      expect([args, code]).toEqual([args, 8])
      expect(stderr).toContain('CONTROL_DAMAGED  the control database has "almost" as the stage of users')
    }
    await monolith.query(`update migrate.service set stage = 'sync' where service = 'users'`)
  })
})

describe.runIf(existsSync('/dev/full'))('a disk that is full', () => {
  test('loses the answer, and says so', async () => {
    const { code, stderr } = await full(['config', 'schema'])
    expect([code, stderr]).toEqual([1, expect.stringContaining('OUTPUT_UNWRITABLE  what this command had to say')])
    expect(stderr).toContain('ENOSPC')
    expect(stderr.match(/OUTPUT_UNWRITABLE/g)).toHaveLength(1)
  })

  test('leaves the state as it should be', async () => {
    expect((await full(['route', 'set', 'users', '--percent', '7', '-c', shop.config])).code).toBe(1)
    const { rows } = await monolith.query(`select percent::float8 as percent from migrate.service`)
    expect(rows).toEqual([{ percent: 7 }])
  })

  async function full(args: readonly string[]) {
    const stdout = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, [CLI, ...args], { env: shop.env, stdio: ['ignore', stdout, 'pipe'] })
    const [code, stderr] = await Promise.all([exitCode(child), textOf(child.stderr as NodeJS.ReadableStream)])
    return { code, stderr }
  }
})

test('a HOME that cannot be written to, or is not there, does not matter', async () => {
  for (const HOME of ['/proc', '/no/such/home']) {
    const { code, stderr } = await migrate(['-c', shop.config, 'status'], { ...shop.env, HOME })
    expect([code, stderr]).toEqual([0, ''])
  }
})

function withTables(names: readonly string[]): string {
  return `project: names
monolith: { database: "\${MONOLITH_DATABASE_URL}", http: "http://127.0.0.1:1", role: shop_app }
services:
  users:
    http: "http://127.0.0.1:1"
    tables: [${names.map((name) => `"${name}"`).join(', ')}]
    stores: [{ kind: postgres, url: "\${USERS_DATABASE_URL}" }]
`
}

let written = 0
function write(text: string): string {
  const path = join(shop.folder, `wrong-${written++}.yaml`)
  writeFileSync(path, text)
  return path
}
