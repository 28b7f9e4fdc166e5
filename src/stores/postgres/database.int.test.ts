import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../../fixtures/servers/postgres.ts'
import { startTcpProxy, type TcpProxy } from '../../../test/support/tcp-proxy.ts'
import { openDatabase } from './database.ts'

let server: PostgresServer
let way: TcpProxy
beforeAll(async () => {
  server = await startPostgres({ name: 'database' })
  way = await startTcpProxy({ host: '127.0.0.1', port: server.port })
})
afterAll(async () => {
  await way[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

test('a server that goes silent costs a command a bounded time, and is not waited for at its end', async () => {
  const url = new URL(server.url('postgres'))
  url.port = String(way.port)
  const database = openDatabase({ url: url.href, role: 'monolith', applicationName: 'test', statementTimeout: 200 })
  await Promise.all([1, 2].map(() => database.query('select 1')))
  way.freeze()
  const started = performance.now()
  const silent = { code: 'DATABASE_UNREACHABLE', message: expect.stringContaining('it does not answer') }
  await Promise.all([
    expect(database.query('select 1')).rejects.toMatchObject(silent),
    expect(database.transaction((sql) => sql.query('select 1'))).rejects.toMatchObject(silent),
  ])
  expect(performance.now() - started).toBeLessThan(8_000)
  const closing = performance.now()
  await database[Symbol.asyncDispose]()
  expect(performance.now() - closing).toBeLessThan(3_000)
})

test('what the server itself ends in time is no silence', async () => {
  await using database = openDatabase({
    ...{ url: server.url('postgres'), role: 'monolith', applicationName: 'test', statementTimeout: 200 },
  })
  await expect(database.query('select pg_sleep(2)')).rejects.toMatchObject({
    code: expect.not.stringContaining('INTERNAL'),
    message: expect.stringContaining('statement timeout'),
  })
  expect((await database.query<{ one: number }>('select 1 as one')).rows).toEqual([{ one: 1 }])
})
