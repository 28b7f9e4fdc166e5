import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { until } from '../../test/support/messaging.ts'
import { type Running, runSagas } from '../../test/support/sagas.ts'
import { defineSaga, inTransaction } from '../index.ts'
import type { Alert } from '../model/alert.ts'
import { tellOfSagas } from './alerts.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-hostile-growth' })
})
afterAll(() => db[Symbol.asyncDispose]())

const one = async (query: string, values: unknown[] = []): Promise<number> => {
  const [row] = await db.query<{ n: number }>(`select (${query})::int as n`, values)
  return row?.n ?? -1
}

describe('what is over', () => {
  it('is deleted faster than a busy service adds to it', async () => {
    await db.query(
      `with old as (
         insert into eventing.saga (id, name, version, status, input, ended_at, seq)
         select gen_random_uuid(), 'Old', 1, 'DONE', '1', now() - interval '31 days', 1 from generate_series(1, 20000)
         returning id
       ) insert into eventing.saga_journal (saga_id, seq, entries) select id, 1, '[]' from old`,
    )
    await using running = runSagas(db, { sagas: [] })
    await until('the old sagas are gone', async () => (await one(`select count(*) from eventing.saga`)) === 0, 25_000)
    expect(await one(`select count(*) from eventing.saga_journal`)).toBe(0)
    expect(running.troubles).toEqual([])
  }, 40_000)

  it('is no alert for ever', async () => {
    await db.query(
      `insert into eventing.saga_alert (name, subject, summary, next, raised_at, tried_at, told_at, resolved_at)
       select 'saga-stuck', n::text, '', '', at, at, at, at
       from generate_series(1, 3000) as n, (values (now() - interval '31 days')) as v (at)`,
    )
    await db.query(`insert into eventing.saga_alert values ('saga-stuck', 'young', '', '', now(), now(), now(), now())`)
    await using running = runSagas(db, { sagas: [] })
    await until('the old alerts are gone', async () => (await one(`select count(*) from eventing.saga_alert`)) === 1)
    expect(running.troubles).toEqual([])
  })
})

describe('a step that is tried for weeks', () => {
  it('is looked at without reading all of its story each time', async () => {
    const id = randomUUID()
    await db.query(
      `insert into eventing.saga (id, name, version, input, seq, due_at, waiting) values ($1, 'Long', 1, '1', 20000, now(), 'retry')`,
      [id],
    )
    const failed = { do: 'unknown', step: 'thank', direction: 'execute', error: { code: 'E', message: '' }, retryIn: 1 }
    await db.query(
      `insert into eventing.saga_journal (saga_id, seq, entries)
       select $1, n, jsonb_build_array($2::jsonb) from generate_series(1, 20000) as n`,
      [id, JSON.stringify(failed)],
    )
    const raised: Alert[] = []
    const read = await inTransaction(db.pool, async (tx) => {
      // also what this connection has read before and not reported yet
      const count = async () => {
        const { rows } = await tx.query(
          `select (seq_tup_read + idx_tup_fetch)::int as n from pg_stat_xact_user_tables
           where schemaname = 'eventing' and relname = 'saga_journal'`,
        )
        return (rows[0] as { n: number }).n
      }
      const before = await count()
      await tellOfSagas(tx, 'shop', { raise: (alert) => void raised.push(alert), resolve: () => undefined })
      return (await count()) - before
    })
    expect(raised).toContainEqual(expect.objectContaining({ name: 'saga-retrying', subject: id }))
    expect(read).toBeLessThan(1_000)
  })
})

describe('a step that ends its process', () => {
  it('does not do so for ever, also behind the pivot', async () => {
    const gate = Promise.withResolvers<void>()
    let calls = 0
    const saga = defineSaga<null>({ name: 'Deadly', version: 1 })
      .call('crash', {
        kind: 'retriable',
        execute: async () => {
          calls += 1
          await gate.promise
        },
      })
      .build()
    // each has room for one saga, and keeps it as a process that hangs
    const running = [runSagas(db, { sagas: [saga], concurrency: 1 })]
    const { id } = await (running[0] as Running).sagas.start(saga, null)
    const isStuck = async () => (await one(`select count(*) from eventing.saga where status = 'STUCK'`)) === 1
    for (let deaths = 1; deaths <= 20; deaths++) {
      await until(`call ${deaths}`, async () => calls === deaths)
      // as when its lease is over
      await db.query(
        `update eventing.saga set owner = null, epoch = epoch + 1, deaths = deaths + 1, due_at = now() where id = $1`,
        [id],
      )
      running.push(runSagas(db, { sagas: [saga], concurrency: 1 }))
    }
    await until('nobody tries any more', async () => calls > 20 || (await isStuck()))
    gate.resolve()
    await Promise.all(running.map(({ stop }) => stop()))
    expect([calls, await isStuck()]).toEqual([20, true])
  }, 40_000)
})
