import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Eventing, startEventing } from '../test/support/eventing.ts'
import { inTransaction } from './transaction.ts'

let db: Eventing
beforeAll(async () => {
  db = await startEventing({ name: 'transaction' })
  await db.query(`create table note (n int primary key)`)
})
afterAll(() => db?.[Symbol.asyncDispose]())
beforeEach(() => db.query(`truncate note`))

const notes = async () => (await db.query<{ n: number }>(`select n from note order by n`)).map(({ n }) => n)

it.each([
  ...[
    'commit',
    ' COMMIT and chain',
    'end',
    'rollback',
    'ROLLBACK WORK',
    'abort',
    'begin',
    '\n  begin isolation level serializable',
  ],
  ...['start  transaction', `prepare transaction 'x'`],
])('does not send %j, and takes back what was written', async (statement) => {
  const shared = inTransaction(db.pool, async (tx) => {
    await tx.query(`insert into note values (1)`)
    await tx.query(statement)
  })
  await expect(shared).rejects.toMatchObject({ code: 'TRANSACTION_SHARED' })
  expect(await notes()).toEqual([])
})

it('does not send it when it is part of an object either', async () => {
  const shared = inTransaction(db.pool, (tx) => tx.query({ text: 'commit' } as unknown as string))
  await expect(shared).rejects.toMatchObject({ code: 'TRANSACTION_SHARED' })
})

it('commits when such a statement was refused and caught, with all that was written', async () => {
  await inTransaction(db.pool, async (tx) => {
    await tx.query(`insert into note values (1)`)
    await tx.query('commit').catch(() => undefined)
    await tx.query(`insert into note values ($1)`, [2])
  })
  expect(await notes()).toEqual([1, 2])
})

it('has savepoints, and statements that only begin alike', async () => {
  await inTransaction(db.pool, async (tx) => {
    await tx.query(`savepoint here`)
    await tx.query(`insert into note values (1)`)
    for (const back of [
      'rollback to here',
      'ROLLBACK WORK TO SAVEPOINT here',
      'rollback transaction to savepoint here',
    ]) {
      await tx.query(back)
    }
    await tx.query(`release savepoint here`)
    await tx.query(`do $$ begin insert into note values (2); end $$`)
    await tx.query(`create function pg_temp.ended() returns int language sql as 'select 3'`)
    await tx.query(`with ended as (select pg_temp.ended() as n) insert into note select n from ended`)
  })
  expect(await notes()).toEqual([2, 3])
})
