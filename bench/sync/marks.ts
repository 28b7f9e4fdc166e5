import type pg from 'pg'
import type { Bed, Side } from './bed.ts'
import { open } from './bed.ts'

/** Of the mark behind a load; the beats of the lag probe count on from it. */
export const LAST = 1
export const POLL_MS = 10

/** Writes a mark behind everything. Resolves with the end of the log. */
export async function finish(bed: Bed, id = LAST): Promise<string> {
  await bed.sql.query('insert into marks values ($1)', [id])
  const { rows } = await bed.sql.query<{ end: string }>(`select pg_current_wal_insert_lsn()::text as end`)
  // The end of a page is not reached before something is written behind it.
  await bed.sql.query(`select pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()`)
  await bed.sql.query('checkpoint')
  return rows[0]?.end ?? ''
}

/** Resolves when a mark shows in a target; rejects when its worker, if it is ours, has ended before. */
export async function arrived(bed: Bed, side: Side, id: number, worker?: { exited: Promise<unknown> }): Promise<void> {
  const client = await open(bed.target.url(side))
  let ended = false
  void worker?.exited.then(() => (ended = true))
  try {
    await shown(client, id, () => ended)
  } finally {
    await client.end()
  }
}

export async function shown(client: pg.Client, id: number, ended = (): boolean => false): Promise<void> {
  while ((await client.query('select 1 from marks where id = $1', [id])).rowCount === 0) {
    if (ended()) throw new Error('the worker ended before it had applied everything')
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
