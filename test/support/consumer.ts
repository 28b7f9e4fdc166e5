import { z } from 'zod'
import { consume, type ConsumerOptions, event } from '../../src/index.ts'
import type { Messaging, Sent } from './messaging.ts'

const events = { Counted: event({ schema: z.object({ n: z.number() }) }) }

export const EFFECTS = `create table effect (id bigint generated always as identity, key text, n int)`

type Options = Partial<ConsumerOptions<typeof events>>

/** A consumer that writes rows of `effect`; ends with the block that opened it. */
export function startConsumer(
  { db, kafka }: Messaging,
  name: string,
  topics: string[],
  more: Options = {},
): AsyncDisposable {
  const stop = new AbortController()
  const running = consume({
    ...{ pool: db.pool, kafka, name, topics, events, signal: stop.signal },
    handlers: {
      async Counted(tx, { key, data }) {
        await tx.query(`insert into effect (key, n) values ($1, $2)`, [key, data.n])
      },
    },
    ...more,
  } as Parameters<typeof consume<typeof events>>[0])
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

export const effects = async ({ db }: Messaging, prefix: string) =>
  db.query<{ key: string; n: number }>(`select key, n from effect where key like $1 || '%' order by id`, [prefix])

/** Messages of one type with ids. */
export const counted = (key: string | null, n: number | string, id = `${key}-${n}`): Sent => ({
  ...{ key, value: typeof n === 'number' ? JSON.stringify({ n }) : n },
  headers: { id, type: 'Counted' },
})
