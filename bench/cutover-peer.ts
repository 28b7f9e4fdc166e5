import pg from 'pg'
import type { Shop } from '../fixtures/demo/shop.ts'
import { createUsersDatabase } from '../fixtures/services/users/database.ts'

const TABLES = 'users, user_preferences'

/** PostgreSQL's own logical replication of the same tables into a database beside the service's. */
export async function startPeer(shop: Shop): Promise<{ cutover(): Promise<void> } & AsyncDisposable> {
  const { superuser } = await createUsersDatabase(shop.usersServer, { database: 'peer' })
  await connected(shop.monolith.superuser, (client) => client.query(`create publication peer for table ${TABLES}`))
  const target = await open(superuser)
  const source = await open(shop.monolith.superuser)
  const conninfo = pg.escapeLiteral(shop.monolith.superuser)
  await target.query(`create subscription peer connection ${conninfo} publication peer with (slot_name = 'peer')`)
  const ready = `select bool_and(srsubstate = 'r') as ready from pg_subscription_rel`
  while ((await target.query<{ ready: boolean }>(ready)).rows[0]?.ready !== true)
    await new Promise((r) => setTimeout(r, 50))
  return {
    async cutover() {
      await source.query(`begin; lock table ${TABLES} in access exclusive mode`)
      const { rows } = await source.query<{ at: string; next: string }>(
        `select pg_current_wal_insert_lsn()::text as at,
           (select last_value + 1000 from pg_sequences where sequencename = 'users_id_seq')::text as next`,
      )
      const caughtUp = `select confirmed_flush_lsn >= $1::pg_lsn as yes from pg_replication_slots where slot_name = 'peer'`
      for (;;) {
        const found = await source.query<{ yes: boolean }>(caughtUp, [rows[0]?.at])
        if (found.rows[0]?.yes === true) break
      }
      await target.query(`select setval(pg_get_serial_sequence('users', 'id'), $1::bigint)`, [rows[0]?.next])
      await source.query('commit')
    },
    async [Symbol.asyncDispose]() {
      await target.query('drop subscription peer')
      await Promise.all([target.end(), source.end()])
    },
  }
}

export async function connected(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = await open(url)
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

async function open(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: 'bench' })
  await client.connect()
  return client
}
