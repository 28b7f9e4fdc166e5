// A server that hangs: it takes connections, or keeps them, and answers nobody.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../../fixtures/servers/postgres.ts'
import { startTcpProxy } from '../../../test/support/tcp-proxy.ts'
import { openDatabase } from './database.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await startPostgres({ name: 'hangs' })
})
afterAll(() => server[Symbol.asyncDispose]())

test('statements, transactions and the end are given up, and it is used again when it answers', async () => {
  await using proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port })
  const url = new URL(server.url('postgres'))
  url.port = String(proxy.port)
  const options = { url: url.href, role: 'control', applicationName: 'migrate/test', answerTimeout: 300 }
  const database = openDatabase(options)
  await using listening = database.listen('channel', () => undefined)
  await database.query('select 1')
  proxy.freeze()
  const from = performance.now()
  const unreachable = { code: 'DATABASE_UNREACHABLE', exit: 7 }
  await expect(database.query('select 1')).rejects.toMatchObject(unreachable)
  expect(performance.now() - from).toBeLessThan(1_500)
  await proxy.restore()
  expect((await database.query('select 1 as one')).rows).toEqual([{ one: 1 }])

  await expect(
    database.transaction(async (sql) => {
      await sql.query('create table half (id int)')
      proxy.freeze()
      await sql.query('select 1')
    }),
  ).rejects.toMatchObject(unreachable)
  const ending = performance.now()
  await listening[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
  expect(performance.now() - ending).toBeLessThan(3_000)
  await proxy.restore()

  await using again = openDatabase(options)
  expect((await again.query(`select to_regclass('half') as half`)).rows).toEqual([{ half: null }])
})
