import type pg from 'pg'
import {
  type ConnectionPool,
  defineSaga,
  inTransaction,
  participant,
  Sagas,
  type SagasOptions,
  StepRefused,
  type TransactionClient,
} from '../../src/index.ts'
import { openPool } from '../../fixtures/servers/pool.ts'

/** Which way a purchase goes: to its end, back from the pivot, or back from a group of which a part is done. */
export type Path = 'done' | 'pivot' | 'group'

export interface Purchase {
  readonly path: Path
}

/** Participants of a purchase; they do as much at a time as anybody, and note each effect. */
export const PARTICIPANTS = `create table effect (n bigint generated always as identity, saga text, what text)`

/** One call of a participant elsewhere, in a database of its own. */
function asking(shop: ConnectionPool) {
  return (key: string, refuses = false): Promise<unknown> =>
    inTransaction(shop, async (tx) => {
      const answer = await participant(tx, { key }, async ({ sagaId, step, direction }) => {
        if (refuses) throw new StepRefused(`no ${step}`)
        await effect(tx, sagaId, `${step} ${direction}`)
        return `${step} of ${sagaId}`
      })
      if (answer.outcome === 'refused') throw new StepRefused(answer.reason)
      return answer.result
    })
}

const effect = (tx: TransactionClient, saga: string, what: string) =>
  tx.query(`insert into effect (saga, what) values ($1, $2)`, [saga, what])

/** Calls, a local step, a command, a parallel group, a pivot, and steps behind it. */
export function purchaseSaga(shop: ConnectionPool) {
  const ask = asking(shop)
  const retry = { first: 20, longest: 100, attempts: 50 }
  const again = { retry, compensationRetry: retry }
  return defineSaga<Purchase>({ name: 'Purchase', version: 1, replyTo: 'replies', locks: () => ['counter'] })
    .call('reserve', {
      ...again,
      execute: ({ idempotencyKey }) => ask(idempotencyKey),
      compensate: ({ idempotencyKey }) => ask(idempotencyKey),
    })
    .local('order', {
      ...again,
      execute: (tx, { sagaId }) => effect(tx, sagaId, 'order execute'),
      compensate: (tx, { sagaId }) => effect(tx, sagaId, 'order compensate'),
    })
    .command('notify', {
      ...again,
      execute: ({ input }) => ({ topic: 'notes', type: 'Notify', payload: input }),
      compensate: ({ input }) => ({ topic: 'notes', type: 'Revoke', payload: input }),
    })
    .parallel((group) =>
      group
        .call('pack', {
          ...again,
          execute: ({ idempotencyKey }) => ask(idempotencyKey),
          compensate: ({ idempotencyKey }) => ask(idempotencyKey),
        })
        .call('label', {
          ...again,
          execute: ({ idempotencyKey, input }) => ask(idempotencyKey, input.path === 'group'),
          compensate: ({ idempotencyKey }) => ask(idempotencyKey),
        }),
    )
    .call('pay', {
      ...{ kind: 'pivot', retry },
      execute: ({ idempotencyKey, input }) => ask(idempotencyKey, input.path === 'pivot'),
    })
    .local('book', { ...{ kind: 'retriable', retry }, execute: (tx, { sagaId }) => effect(tx, sagaId, 'book execute') })
    .call('thank', { ...{ kind: 'retriable', retry }, execute: ({ idempotencyKey }) => ask(idempotencyKey) })
    .build()
}

export interface Worker {
  readonly sagas: Sagas
  readonly saga: ReturnType<typeof purchaseSaga>
  readonly pools: readonly pg.Pool[]
}

/** What runs purchases, on the service's database and that of the participants. */
export function openWorker(urls: { service: string; shop: string }, options: Partial<SagasOptions> = {}): Worker {
  const [pool, shop] = [openPool(urls.service, 10), openPool(urls.shop, 10)]
  const saga = purchaseSaga(shop)
  return { sagas: new Sagas(pool, { ttl: 500, poll: 50, ...options, sagas: [saga] }), saga, pools: [pool, shop] }
}

/** Stands in for Kafka and the participant behind it: what is in the outbox is done, and replied to, in one transaction. */
export async function carry(service: ConnectionPool, sagas: Sagas, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const none = await inTransaction(service, async (tx) => {
      const { rows } = await tx.query(
        `delete from eventing.outbox where id in (select id from eventing.outbox order by seq limit 10 for update skip locked)
         returning seq, headers ->> 'idempotency-key' as key`,
      )
      for (const { key } of rows.sort((a, b) => a.seq - b.seq) as { key: string }[]) {
        const answer = await participant(tx, { key }, async ({ sagaId, step, direction }) => {
          await effect(tx, sagaId, `${step} ${direction}`)
        })
        await sagas.receive(tx, [{ key, answer }])
      }
      return rows.length === 0
    }).catch(() => true)
    if (none) await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
