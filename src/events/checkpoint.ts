import type { TransactionClient } from '../model/service-database.ts'
import { type EventPosition, START } from './define.ts'

/** How far the subscription is; one that is new begins at `from` (default: before all events). */
export async function openCheckpoint(
  client: TransactionClient,
  name: string,
  from: EventPosition = START,
): Promise<EventPosition> {
  await client.query(
    `insert into eventing.checkpoint (name, epoch, tx, seq) values ($1, $2, $3::xid8, $4) on conflict (name) do nothing`,
    [name, ...valuesOf(from)],
  )
  const { rows } = await client.query(`select epoch, tx::text, seq::text from eventing.checkpoint where name = $1`, [
    name,
  ])
  return positionOf(rows[0] as StoredPosition)
}

/**
 * Moves it on, if it still is where the caller found it. False: another process has moved it, and what this transaction
 * does must not stay.
 */
export async function moveCheckpoint(
  tx: TransactionClient,
  name: string,
  { from, to, events }: { readonly from: EventPosition; readonly to: EventPosition; readonly events: number },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update eventing.checkpoint
     set epoch = $5, tx = $6::xid8, seq = $7, events = events + $8, moved_at = clock_timestamp()
     where name = $1 and epoch = $2 and tx = $3::xid8 and seq = $4`,
    [name, ...valuesOf(from), ...valuesOf(to), events],
  )
  return rowCount === 1
}

export interface StoredPosition {
  readonly epoch: number
  readonly tx: string
  readonly seq: string
}

export function positionOf({ epoch, tx, seq }: StoredPosition): EventPosition {
  return { epoch, tx: BigInt(tx), seq: BigInt(seq) }
}

function valuesOf({ epoch, tx, seq }: EventPosition): [number, string, string] {
  return [epoch, String(tx), String(seq)]
}
