import { contextOf } from '../../src/consumer/context.ts'
import { keepLetters } from '../../src/consumer/dead-letter.ts'
import { decode, type Item } from '../../src/consumer/decode.ts'
import { drainKeys } from '../../src/consumer/drain.ts'
import { parkKeys, parkRecords } from '../../src/consumer/parking.ts'
import { event, inTransaction } from '../../src/index.ts'
import type { Eventing } from './eventing.ts'

const events = { Counted: event<{ n: number }>() }

export interface Written {
  readonly consumer: string
  readonly key: string | null
  readonly offset: number
  readonly value?: string | Buffer
  readonly headers?: Record<string, readonly Buffer[]>
}

/** Letters as a consumer writes them; `block`: and their keys are blocked behind them. */
export async function writeLetters(db: Eventing, letters: readonly Written[], { block }: { block: boolean }) {
  await inTransaction(db.pool, async (tx) => {
    for (const letter of letters) {
      const item = await itemOf(letter)
      const error = Object.assign(new Error('no such\u001b[31m product\nid 12'), { code: '23503' })
      await keepLetters(tx, letter.consumer, [{ item, error, attempts: 3 }])
      const parked = { item, state: 'blocked', error: 'Error.23503', attempts: 3, milliseconds: 0 } as const
      if (block) await parkKeys(tx, { consumer: letter.consumer, topic: 'orders' }, [parked])
    }
  })
}

/** Records behind a key that waits already. */
export async function writeBehind(db: Eventing, records: readonly Written[]): Promise<void> {
  await inTransaction(db.pool, async (tx) => {
    for (const record of records) {
      await parkRecords(tx, { consumer: record.consumer, topic: 'orders' }, [await itemOf(record)])
    }
  })
}

/** The part of a running consumer that handles what waits, without a broker. Effects are `key n`. */
export function startDrain(
  { pool }: Eventing,
  consumer: string,
  handle: (effect: string) => void,
  afterDeadLetter: 'block-key' | 'skip' = 'block-key',
): AsyncDisposable {
  const stop = new AbortController()
  const handlers = { Counted: async (_: unknown, { key, data }: any) => handle(`${key} ${data.n}`) }
  const options = { name: consumer, topics: ['orders'], events, signal: stop.signal, handlers, afterDeadLetter }
  const classify = () => 'permanent' as const
  const draining = drainKeys(
    contextOf(pool, { ...options, classify } as never, async () => undefined),
    stop.signal,
  )
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await draining
    },
  }
}

async function itemOf({ key, offset, value = `{"n":${offset}}`, headers = {} }: Written): Promise<Item> {
  const about = { id: [Buffer.from(`id-${key}-${offset}`)], type: [Buffer.from('Counted')], ...headers }
  const place = { topic: 'orders', partition: 0, offset: BigInt(offset), time: 1_700_000_000_000 }
  const bytes = { key: key === null ? null : Buffer.from(key), value: Buffer.from(value) }
  return await decode({ ...place, ...bytes, headers: about }, events)
}
