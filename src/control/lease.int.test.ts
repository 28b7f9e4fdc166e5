import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { hostname } from 'node:os'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../fixtures/servers/postgres.ts'
import type { Database } from '../model/sql.ts'
import { openDatabase } from '../stores/postgres/database.ts'
import { installSchema } from './install.ts'
import { holderName, takeLease } from './lease.ts'

let server: PostgresServer
let database: Database
beforeAll(async () => {
  server = await startPostgres({ name: 'lease' })
  database = open()
  await installSchema(database, ['control'])
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

function open(): Database {
  return openDatabase({ url: server.url('postgres'), role: 'control', applicationName: 'migrate/test' })
}

describe('a lease', () => {
  let name = ''
  let count = 0
  beforeEach(() => {
    name = `lease/${++count}`
  })
  const signal = new AbortController().signal
  const row = async () =>
    (
      await database.query<{ holder: string; renewed: string; left: number; epoch: number }>(
        `select holder, renewed_at::text as renewed, epoch::int, extract(epoch from expires_at - clock_timestamp())::float8 as left
       from migrate.lease where name = $1`,
        [name],
      )
    ).rows[0]
  /** Somebody on another machine, or a process of this one. */
  const heldBy = (holder: string, seconds: number): Promise<unknown> =>
    database.query(
      `insert into migrate.lease values ($1, 5, $2, clock_timestamp(), clock_timestamp() + $3 * interval '1 second')`,
      [name, holder, seconds],
    )

  test('is held by one: a second taker is refused as soon as the first renews', async () => {
    await using lease = await takeLease(database, { name, seconds: 2, signal })
    const from = performance.now()
    await expect(takeLease(database, { name, seconds: 2, signal })).rejects.toMatchObject({
      code: 'LOCKED',
      context: { what: name, holder: holderName() },
    })
    expect(performance.now() - from).toBeLessThan(2_000)
    expect(lease.lost.aborted).toBe(false)
    expect(lease.epoch).toBe(1)
  })

  test('of several takers one gets it', async () => {
    const takers = await Promise.allSettled(
      Array.from({ length: 5 }, () => takeLease(database, { name, seconds: 1, signal })),
    )
    const won = takers.filter((each) => each.status === 'fulfilled')
    expect(won).toHaveLength(1)
    await won[0]?.value[Symbol.asyncDispose]()
  })

  test('is renewed for as long as it is held, and free at once when it is given back', async () => {
    const lease = await takeLease(database, { name, seconds: 1, signal })
    const renewed = new Set<string | undefined>()
    while (renewed.size < 5) renewed.add((await row())?.renewed)
    expect((await row())?.left).toBeGreaterThan(0)
    expect(lease.lost.aborted).toBe(false)
    await lease[Symbol.asyncDispose]()
    const from = performance.now()
    await using next = await takeLease(database, { name, signal })
    expect(performance.now() - from).toBeLessThan(500)
    expect(next.epoch).toBe(2)
  })

  test('that ran out is taken over, with a higher epoch', async () => {
    await heldBy('elsewhere/1', 0.7)
    await using lease = await takeLease(database, { name, signal })
    expect(lease.epoch).toBe(6)
  })

  test('of a process of this machine that is gone is taken over at once', async () => {
    const child = spawn(process.execPath, ['-e', ''])
    await once(child, 'exit')
    await heldBy(`${hostname()}/${child.pid}`, 60)
    const from = performance.now()
    await using lease = await takeLease(database, { name, signal })
    expect(performance.now() - from).toBeLessThan(1_000)
    expect(lease.epoch).toBe(6)
  })

  test.each([
    ["of a process that lives, though another one's", `${hostname()}/1`],
    ['of another machine with a pid that is free here', 'elsewhere/4194000'],
    ['of a holder that is no process', 'somebody'],
  ])('%s is not', async (_, holder) => {
    await heldBy(holder, 60)
    await expect(takeLease(database, { name, patience: 300, signal })).rejects.toMatchObject({
      code: 'LOCKED',
      context: { holder },
    })
    expect((await row())?.epoch).toBe(5)
  })

  test('that somebody else has is lost, and giving it back does not end theirs', async () => {
    const lease = await takeLease(database, { name, seconds: 4, signal })
    const lost = once(lease.lost, 'abort')
    const from = performance.now()
    await database.query(`update migrate.lease set epoch = 9, expires_at = 'infinity' where name = $1`, [name])
    await lost
    // noticed with the next renewal, not only when it would have run out
    expect(performance.now() - from).toBeLessThan(2_500)
    expect(lease.lost.reason).toMatchObject({ code: 'TAKEN_OVER' })
    await lease[Symbol.asyncDispose]()
    expect((await row())?.left).toBe(Number.POSITIVE_INFINITY)
  })

  test('that cannot be renewed is lost before anybody else can have it', async () => {
    const pool = open()
    const lease = await takeLease(pool, { name, seconds: 2, signal })
    const lost = once(lease.lost, 'abort')
    await pool[Symbol.asyncDispose]()
    await lost
    expect((await row())?.left).toBeGreaterThan(0)
    // not that somebody has taken it: nobody can know
    expect(lease.lost.reason).toMatchObject({ code: 'LEASE_LOST', exit: 7 })
  })

  test('a wait for it ends with the signal', async () => {
    await heldBy('elsewhere/1', 60)
    const stop = new AbortController()
    const taking = takeLease(database, { name, signal: stop.signal })
    stop.abort(new Error('stop'))
    await expect(taking).rejects.toThrow('stop')
  })
})
