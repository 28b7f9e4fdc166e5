import type pg from 'pg'
import { connect, type Pair, type Side } from './pair.ts'

export interface SlotSample {
  /** position that the slot had confirmed, in bytes */
  readonly confirmed: bigint
  /** of the checkpoint, read after it */
  readonly checkpoint: bigint
}

export interface SlotWatch {
  /** how often both could be read */
  readonly samples: number
  /** the slot had let go of what was not in the target */
  readonly violations: readonly SlotSample[]
  /** Ends it. */
  stop(): Promise<void>
}

const EVERY = 100

/**
 * Compares a slot with the checkpoint that it feeds, every 100 ms; servers may crash meanwhile. The slot is read first:
 * the checkpoint may only have moved on since.
 */
export function watchSlot(pair: Pair, from: Side, slot: string, pipeline: string): SlotWatch {
  const clients: Partial<Record<Side, pg.Client>> = {}
  const ask = async (side: Side, sql: string, value: string): Promise<bigint | null> => {
    const client = (clients[side] ??= await connect(pair.url(side)))
    const { rows } = await client.query<{ at: string }>(sql, [value])
    return rows[0] === undefined ? null : BigInt(rows[0].at)
  }
  const look = async (): Promise<SlotSample | null> => {
    const confirmed = await ask(from, CONFIRMED, slot)
    const checkpoint = await ask(from === 'source' ? 'target' : 'source', CHECKPOINT, pipeline)
    return confirmed === null || checkpoint === null ? null : { confirmed, checkpoint }
  }
  const violations: SlotSample[] = []
  let samples = 0
  let stopped = false
  const watching = (async () => {
    while (!stopped) {
      // a server that is down has nothing to say
      const sample = await look().catch(() => disconnect(clients))
      if (sample !== null) {
        samples += 1
        if (sample.confirmed > sample.checkpoint) violations.push(sample)
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY))
    }
    await disconnect(clients)
  })()
  return {
    get samples() {
      return samples
    },
    violations,
    async stop() {
      stopped = true
      await watching
    },
  }
}

const CONFIRMED = `select (confirmed_flush_lsn - '0/0')::text as at from pg_replication_slots where slot_name = $1`
const CHECKPOINT = `select (commit_lsn - '0/0')::text as at from migrate.checkpoint where pipeline = $1`

async function disconnect(clients: Partial<Record<Side, pg.Client>>): Promise<null> {
  const open = Object.values(clients)
  for (const side of Object.keys(clients) as Side[]) delete clients[side]
  await Promise.all(open.map((client) => client.end().catch(() => undefined)))
  return null
}
