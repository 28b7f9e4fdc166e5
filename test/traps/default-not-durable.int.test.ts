// Once a defect: "durable" is left to the target's default: under synchronous_commit = off there what is acknowledged is lost in a crash.
import pg from 'pg'
import { expect, test } from 'vitest'
import { startPostgres } from '../../fixtures/servers/postgres.ts'
import { installSchema } from '../../src/control/install.ts'
import { openDatabase } from '../../src/stores/postgres/database.ts'
import { openCdc, publishTables, SLOT, startPipeline } from '../support/cdc.ts'

test('what is acknowledged survives a crash of a target that commits asynchronously by default', async () => {
  await using cdc = await openCdc({ name: 'offack' })
  const settings = { wal_writer_delay: '10s', wal_writer_flush_after: '1GB', synchronous_commit: 'off' }
  await using server = await startPostgres({ name: 'offtarget', settings })
  const connect = async (url: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  await (await connect(server.url('postgres'))).query(`create database target`)
  const targetUrl = server.url('target')
  const targetDb = openDatabase({ url: targetUrl, role: 'users', applicationName: 'migrate/test users' })
  await installSchema(targetDb, ['target', 'service'])
  const target = await connect(targetUrl)
  const world = { ...cdc, target, targetDb, targetUrl }
  for (const client of [cdc.source, target]) await client.query(`create table t (id int primary key, v text)`)
  await publishTables(world, ['t'])
  await target.query('checkpoint')
  await cdc.source.query(`insert into t values (0, 'small')`)
  const acknowledged = async (): Promise<bigint> => {
    const { rows } = await cdc.source.query(
      `select confirmed_flush_lsn - '0/0' as at from pg_replication_slots where slot_name = $1`,
      [SLOT],
    )
    return BigInt(rows[0].at)
  }
  const before = await acknowledged()
  const crashed = Promise.withResolvers<void>()
  await startPipeline(world, ['t'], {
    failpoint: async (name) => {
      if (!name.endsWith('after-ack')) return
      while ((await acknowledged()) === before) await new Promise((resolve) => setImmediate(resolve))
      await server.stop('immediate')
      crashed.resolve()
      await new Promise(() => undefined)
    },
  })
  await crashed.promise
  await server.restart()
  const again = await connect(targetUrl)
  const { rows } = await again.query(`select commit_lsn - '0/0' as at from migrate.checkpoint`)
  await again.end()
  expect(BigInt(rows[0].at)).toBeGreaterThanOrEqual(await acknowledged())
})
