import pg from 'pg'
import { type Change, type Row, type Transaction, UNCHANGED } from '../../model/change.ts'
import { isMove, keyName } from '../../sync/converge.ts'
import type { RowWrite } from '../../sync/ports.ts'
import { converge } from './converge.ts'
import type { RowWriter } from './row-writer.ts'
import { sqlstate } from './translate.ts'

/** A row may be in the way in so many unique indexes. */
const MOST_RIVALS = 10

/**
 * Dual-write: does to the target what these transactions did to the monolith, whatever second legs have done to the
 * rows already. A row of a leg that has a unique value of ours goes: the change that gave it that value comes later.
 * `missing` is kept up to date: the updates that found no row for their unchanged TOAST values, unless the row came or
 * went after them. Returns how many rows were in the way.
 */
export async function replay(
  rows: RowWriter,
  transactions: readonly Pick<Transaction, 'changes'>[],
  missing: Map<string, RowWrite>,
): Promise<number> {
  let rivals = 0
  for (const change of transactions.flatMap(({ changes }) => changes)) {
    if (change.op === 'truncate') {
      await rows.truncate(change)
      for (const [key, { relation }] of missing) if (change.relations.includes(relation)) missing.delete(key)
      continue
    }
    const replayed = await replayRow(rows, change)
    rivals += replayed.rivals
    for (const write of replayed.writes) {
      if (write.found) missing.delete(keyName(write))
      else missing.set(keyName(write), write)
    }
  }
  return rivals
}

type RowChange = Exclude<Change, { op: 'truncate' }>
type Replayed = RowWrite & { readonly found: boolean }

/** The savepoint costs two round trips, and this is rare. */
async function replayRow(rows: RowWriter, change: RowChange): Promise<{ writes: Replayed[]; rivals: number }> {
  for (let rivals = 0; ; rivals++) {
    await rows.client.query('savepoint change')
    try {
      const writes = await attempt(rows, change)
      await rows.client.query('release savepoint change')
      return { writes, rivals }
    } catch (error) {
      if (sqlstate(error) !== '23505' || change.op === 'delete' || rivals === MOST_RIVALS) throw error
      await rows.client.query('rollback to savepoint change')
      if (!(await removeRival(rows, change, error))) throw error
    }
  }
}

async function attempt(rows: RowWriter, change: RowChange): Promise<Replayed[]> {
  const { relation } = change
  const statements = rows.of(relation)
  const remove = async (key: Row): Promise<Replayed> => {
    await rows.run(statements.delete(key))
    return { relation, op: 'delete', key, row: [], found: true }
  }
  if (change.op === 'delete') return [await remove(statements.keyOf(change.old))]
  const { row } = change
  const key = statements.keyOf(row)
  const write: RowWrite = { relation, op: row.includes(UNCHANGED) ? 'update' : 'insert', key, row }
  if (!isMove(change, statements.keyColumns)) return [{ ...write, found: (await converge(rows, write)) !== 'missing' }]

  const old = statements.keyOf(change.old as Row)
  if (write.op === 'update' && (await rows.run(statements.find(old))) > 0) {
    await remove(key)
    await rows.run(statements.move(old, row))
    return [
      { ...write, key: old, found: true },
      { ...write, found: true },
    ]
  }
  return [await remove(old), { ...write, found: (await converge(rows, write)) !== 'missing' }]
}

/** Deletes the other row that has the unique value. False: it cannot be told which one. */
async function removeRival(rows: RowWriter, change: Exclude<RowChange, { op: 'delete' }>, error: unknown) {
  if (!(error instanceof pg.DatabaseError)) return false
  const { rows: columns } = await rows.client.query<{ name: string }>(
    `select a.attname as name from pg_index i
     join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
     where n.nspname = $1 and c.relname = $2 and i.indpred is null and i.indexprs is null`,
    [error.schema, error.constraint],
  )
  const names = columns.map(({ name }) => name)
  const rival = rows.of(change.relation).rival(names, change.row)
  return rival !== null && (await rows.run(rival)) > 0
}
