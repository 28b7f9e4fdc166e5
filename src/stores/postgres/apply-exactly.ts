import type { Change, Row } from '../../model/change.ts'
import { isMove } from '../../sync/converge.ts'
import type { RowWriter } from './row-writer.ts'

type Update = Extract<Change, { op: 'update' }>

/** Does to the target what the change did to the source. Throws ROW_MISSING when the row is not there. */
export async function applyExactly(rows: RowWriter, change: Change): Promise<void> {
  if (change.op === 'truncate') return rows.truncate(change)
  const statements = rows.of(change.relation)
  if (change.op === 'insert') {
    await rows.run(statements.insert(change.row))
    return
  }
  if (change.op === 'delete') {
    const key = statements.keyOf(change.old)
    if ((await rows.run(statements.delete(key))) === 0) throw rows.missing(change.relation)
    return rows.stash.freed(change.relation, key)
  }
  const key = statements.keyOf(change.old ?? change.row)
  const { relation } = change
  if (isMove(change, statements.keyColumns)) return move(rows, change, key)
  rows.stash.throwIfTwo(relation, key)
  await update(rows, change, key)
}

async function update(rows: RowWriter, { relation, row }: Update, key: Row): Promise<void> {
  const statements = rows.of(relation)
  const update = statements.update(key, row)
  if (update !== null && (await rows.run(update)) === 1) return
  // a "generated always" identity cannot be updated: the row is made anew
  if ((await rows.run(statements.move(key, row))) === 0) throw rows.missing(relation)
}

/** Another key: it may belong to a row that gives it up later in the transaction. */
async function move(rows: RowWriter, change: Update, key: Row): Promise<void> {
  const { relation, row } = change
  const statements = rows.of(relation)
  // under identity default the source checks its key at once
  const taken = relation.identity !== 'default' && (await rows.run(statements.find(statements.keyOf(row), key))) > 0
  if (!taken) await update(rows, change, key)
  else if (!(await rows.stash.put(relation, key, row))) throw rows.missing(relation)
  await rows.stash.freed(relation, key)
}
