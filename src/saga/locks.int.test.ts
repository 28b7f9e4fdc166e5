import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../../test/support/eventing.ts'
import { runSagas } from '../../test/support/sagas.ts'
import { seededRandom } from '../../fixtures/load/random.ts'
import { defineSaga } from '../index.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'saga-locks' })
  // tickets are gone in the end
  await db.query(`
    create table locked (like eventing.saga_lock);
    create function keep() returns trigger language plpgsql as $$
    begin insert into locked select new.*; return null; end $$;
    create trigger keep after insert on eventing.saga_lock for each row execute function keep()`)
})
afterAll(() => db[Symbol.asyncDispose]())

/** How many sagas of two processes. */
const SAGAS = Number(process.env.MIGRATE_SAGA_LOCKS ?? 200)

describe('semantic locks', () => {
  it(
    'are given first come, first served, with never two holders, without deadlock, and none is left',
    async () => {
      const holders = new Map<string, string>()
      const served: { readonly id: string; readonly targets: readonly string[] }[] = []
      const saga = defineSaga<{ targets: string[]; fails: boolean }>({
        ...{ name: 'Locked', version: 1, locks: ({ targets }) => targets },
      })
        .call('take', {
          execute: async ({ sagaId, input: { targets } }) => {
            served.push({ id: sagaId, targets })
            for (const target of targets) {
              expect(holders.get(target)).toBe(undefined)
              holders.set(target, sagaId)
            }
            await new Promise((resolve) => setTimeout(resolve, 2))
          },
          compensate: null,
        })
        .call('leave', {
          retry: { attempts: 1 },
          execute: async ({ sagaId, input: { targets, fails } }) => {
            for (const target of targets) expect(holders.get(target)).toBe(sagaId)
            for (const target of targets) holders.delete(target)
            if (fails) throw new Error('it goes back')
          },
          compensate: null,
        })
        .build()
      const random = seededRandom(7)
      await using here = runSagas(db, { sagas: [saga] })
      await using there = runSagas(db, { sagas: [saga] })
      const started = Array.from({ length: SAGAS }, async (_, n) => {
        const targets = ['p1', 'p2', 'p3', 'p4', 'p5'].filter(() => random() < 0.4)
        const { sagas } = n % 2 === 0 ? here : there
        return (await sagas.start(saga, { targets, fails: random() < 0.2 })).outcome()
      })
      for (const outcome of await Promise.all(started)) expect(outcome.status).not.toBe('STUCK')
      expect(served).toHaveLength(SAGAS)
      expect(await db.query(`select from eventing.saga_lock`)).toEqual([])
      expect(here.troubles.concat(there.troubles)).toEqual([])
      await inOrder(served)
    },
    60_000 + SAGAS * 500,
  )

  it('outlive the process that holds them, and are kept by a saga that is stuck', async () => {
    let down = true
    const saga = defineSaga<null>({ name: 'Held', version: 1, locks: () => ['shelf'] })
      .call('one', {
        kind: 'pivot',
        retry: { attempts: 1 },
        execute: async () => {
          if (down) throw new Error('nobody knows')
        },
      })
      .build()
    await using running = runSagas(db, { sagas: [saga] })
    const stuck = await running.sagas.start(saga, null)
    expect((await stuck.outcome()).status).toBe('STUCK')
    const behind = await running.sagas.start(saga, null)
    await running.stop()
    const rows = `select s.id, s.status, s.waiting from eventing.saga_lock l join eventing.saga s on s.id = l.saga_id order by ticket`
    expect(await db.query(rows)).toEqual([
      { id: stuck.id, status: 'STUCK', waiting: null },
      { id: behind.id, status: 'RUNNING', waiting: 'lock' },
    ])
    // its ticket goes with it, however that comes about; whoever is next is woken
    await db.query(`update eventing.saga set status = 'DONE', ended_at = now() where id = $1`, [stuck.id])
    down = false
    await using again = runSagas(db, { sagas: [saga] })
    expect((await behind.outcome()).status).toBe('DONE')
    expect(await db.query(`select from eventing.saga_lock`)).toEqual([])
    expect(again.troubles).toEqual([])
  })

  it('are waited for no longer than the deadline of the saga', async () => {
    const saga = defineSaga<null>({ name: 'Impatient', version: 1, locks: () => ['door'], deadline: 300 })
      .call('one', {
        execute: async ({ signal }) =>
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
        compensate: null,
      })
      .build()
    const slow = defineSaga<null>({ name: 'Slow', version: 1, locks: () => ['door'] })
      .call('one', { execute: () => new Promise((resolve) => setTimeout(resolve, 1_500)), compensate: null })
      .build()
    await using running = runSagas(db, { sagas: [saga, slow] })
    const first = await running.sagas.start(slow, null)
    const second = await running.sagas.start(saga, null)
    expect(await second.outcome()).toMatchObject({ status: 'COMPENSATED', failure: { code: 'DEADLINE' } })
    expect((await first.outcome()).status).toBe('DONE')
    expect(await db.query(`select from eventing.saga_lock`)).toEqual([])
  })
})

/** Of two that wanted the same, the one that came first was served first: tickets are drawn in the order of the start. */
async function inOrder(served: readonly { readonly id: string; readonly targets: readonly string[] }[]): Promise<void> {
  const rows = await db.query<{ id: string; n: string }>(
    `select saga_id as id, min(ticket) as n from locked group by saga_id`,
  )
  const tickets = new Map(rows.map(({ id, n }) => [id, Number(n)]))
  for (const target of ['p1', 'p2', 'p3', 'p4', 'p5']) {
    const order = served
      .filter(({ targets }) => targets.includes(target))
      .map(({ id }) => tickets.get(id) ?? Number.NaN)
    expect(order).toEqual(order.toSorted((a, b) => a - b))
  }
}
