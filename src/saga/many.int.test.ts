import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { runSagas, startNotes } from '../../test/support/sagas.ts'
import { defineSaga } from '../index.ts'

const SAGAS = Number(process.env.MIGRATE_SAGAS ?? 1_000)
const WORKERS = 8

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'sagas-many' })
  await startNotes(db)
})
afterAll(() => db[Symbol.asyncDispose]())

it(
  'many workers share many sagas: every step once, a commit each and one for the start',
  async () => {
    const step = (name: string) => ({
      execute: ({ sagaId }: { sagaId: string }) =>
        db.query(`insert into note (saga, text) values ($1, $2)`, [sagaId, name]),
      compensate: null,
    })
    const saga = defineSaga<null>({ name: 'Three', version: 1 })
      .call('one', step('one'))
      .call('two', step('two'))
      .call('three', step('three'))
      .build()
    await using workers = new AsyncDisposableStack()
    const running = Array.from({ length: WORKERS }, () => workers.use(runSagas(db, { sagas: [saga] })))
    const ids = await Promise.all(
      Array.from({ length: SAGAS }, async (_, n) => {
        const started = await (running[n % WORKERS] as (typeof running)[0]).sagas.start(saga, null)
        expect((await started.outcome()).status).toBe('DONE')
        return started.id
      }),
    )
    expect(new Set(ids).size).toBe(SAGAS)
    const wrong = await db.query(
      `select saga, array_agg(text order by n) from note group by 1 having array_agg(text order by n) <> '{one,two,three}'`,
    )
    expect(wrong).toEqual([])
    expect(await db.query(`select count(distinct saga)::int as n from note`)).toEqual([{ n: SAGAS }])
    // those that were started and at once owned; whoever had no room left it to a claim, which begins with a commit
    const rows = await db.query<{ rows: number; n: number }>(
      `select rows, count(*)::int as n from (select count(*)::int as rows from eventing.saga_journal group by saga_id) as s group by 1`,
    )
    expect(rows).toEqual([{ rows: 4, n: SAGAS }])
    expect(running.flatMap(({ troubles }) => troubles)).toEqual([])
  },
  60_000 + SAGAS * 10,
)
