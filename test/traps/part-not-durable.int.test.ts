// Once a defect: the FIRST part of a big transaction decides on synchronous_commit, the LAST one on the acknowledgement.
import { afterEach, expect, test } from 'vitest'
import { openCdc, publishTables, SLOT, startPipeline } from '../support/cdc.ts'
import { startPostgres } from '../../fixtures/servers/postgres.ts'
import { installSchema } from '../../src/control/install.ts'
import { asLsn } from '../../src/model/lsn.ts'
import { openDatabase } from '../../src/stores/postgres/database.ts'
import pg from 'pg'

const undo = new AsyncDisposableStack()
afterEach(() => undo.disposeAsync())

test('what is acknowledged of a big transaction survives a crash of the target', async () => {
  const cdc = await openCdc({ name: 'partack' })
  undo.use(cdc)
  // a target server of its own, whose WAL writer is slow
  const server = undo.use(
    await startPostgres({ name: 'parttarget', settings: { wal_writer_delay: '10s', wal_writer_flush_after: '1GB' } }),
  )
  const root = new pg.Client({ connectionString: server.url('postgres') })
  root.on('error', () => undefined)
  await root.connect()
  await root.query(`create database target`)
  const targetUrl = server.url('target')
  const targetDb = openDatabase({ url: targetUrl, role: 'users', applicationName: 'migrate/test users' })
  await installSchema(targetDb, ['target', 'service'])
  const target = new pg.Client({ connectionString: targetUrl })
  target.on('error', () => undefined)
  await target.connect()
  const world = { ...cdc, target, targetDb, targetUrl }
  for (const client of [cdc.source, target]) await client.query(`create table t (id int primary key, v text)`)
  await publishTables(world, ['t'])
  await cdc.source.query(`insert into t values (0, 'small')`)
  await cdc.source.query(`insert into t select i, repeat('x', 200) from generate_series(1, 60000) i`)

  const acknowledged = async (): Promise<bigint> => {
    const { rows } = await cdc.source.query(
      `select confirmed_flush_lsn - '0/0' as at from pg_replication_slots where slot_name = $1`,
      [SLOT],
    )
    return asLsn(BigInt(rows[0].at))
  }
  const before = await acknowledged()
  let parts = 0
  const { ended } = await startPipeline(world, ['t'], {
    failpoint: async (name) => {
      if (name.endsWith('.part')) parts++
      if (name.endsWith('before-ack') && parts === 0) {
        // a slow target: meanwhile the first parts of the big transaction arrive
        for (let sent = 0n, last = -1n; sent === 0n || sent !== last; ) {
          last = sent
          await new Promise((resolve) => setTimeout(resolve, 500))
          const { rows } = await cdc.source.query(
            `select coalesce(max(sent_lsn - '0/0'), 0) as at from pg_stat_replication`,
          )
          sent = BigInt(rows[0].at)
        }
      }
      if (!name.endsWith('after-ack') || parts === 0) return
      // the acknowledgement of the big transaction has arrived at the source; now the target crashes
      while ((await acknowledged()) === before) await new Promise((resolve) => setImmediate(resolve))
      await server.stop('immediate')
      await new Promise(() => undefined)
    },
  })
  void ended
  while (true) {
    const alive = await root.query('select 1').then(
      () => true,
      () => false,
    )
    if (!alive) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await server.restart()
  const again = new pg.Client({ connectionString: targetUrl })
  await again.connect()
  const { rows } = await again.query(`select commit_lsn - '0/0' as at from migrate.checkpoint`)
  const { rows: counted } = await again.query(`select count(*)::int as n from t`)
  await again.end()
  expect(parts).toBeGreaterThan(0)
  console.log({ acknowledged: await acknowledged(), checkpoint: rows[0].at, rows: counted[0].n })
  expect(BigInt(rows[0].at)).toBeGreaterThanOrEqual(await acknowledged())
})
