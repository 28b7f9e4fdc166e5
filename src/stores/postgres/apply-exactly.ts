import type { Change, Relation, Row } from '../../model/change.ts'
import { isMove } from '../../sync/converge.ts'
import type { RowStatement } from './row-statements.ts'
import type { RowWriter } from './row-writer.ts'
import { ambiguous } from './stash.ts'

type Update = Extract<Change, { op: 'update' }>

/** Does to the target what the change did to the source. Throws ROW_MISSING when the row is not there. */
export async function applyExactly(rows: RowWriter, change: Change): Promise<void> {
  if (change.op === 'truncate') return rows.truncate(change)
  const statements = rows.of(change.relation)
  if (change.op === 'insert') return insert(rows, change)
  if (change.op === 'delete') {
    const key = statements.keyOf(change.old)
    rows.stash.throwIfWaiting(change.relation, key, change.old)
    await one(rows, change.relation, statements.delete(key))
    return rows.stash.freed(change.relation, key)
  }
  const key = statements.keyOf(change.old ?? change.row)
  const { relation } = change
  if (isMove(change, statements.keyColumns)) return move(rows, change, key)
  rows.stash.throwIfTwo(relation, key)
  await update(rows, change, key)
}

async function insert(rows: RowWriter, { relation, row }: Extract<Change, { op: 'insert' }>): Promise<void> {
  const statements = rows.of(relation)
  // another row may have its key until the end of the transaction
  if (relation.identity === 'full') await rows.stash.throwIfTaken(relation, statements.keyOf(row))
  await rows.run(statements.insert(row))
}

/** Throws ROW_MISSING, or KEY_AMBIGUOUS when there are two. */
async function one(rows: RowWriter, relation: Relation, statement: RowStatement): Promise<void> {
  const found = await rows.run(statement)
  if (found === 0) throw rows.missing(relation)
  if (found > 1) throw ambiguous(relation)
}

async function update(rows: RowWriter, { relation, row }: Update, key: Row): Promise<void> {
  const statements = rows.of(relation)
  const update = statements.update(key, row)
  const found = update === null ? 0 : await rows.run(update)
  if (found === 1) return
  if (found > 1) throw ambiguous(relation)
  // a "generated always" identity cannot be updated: the row is made anew
  await one(rows, relation, statements.move(key, row))
}

/** Another key: it may belong to a row that gives it up later in the transaction. */
async function move(rows: RowWriter, change: Update, key: Row): Promise<void> {
  const { relation, row } = change
  const statements = rows.of(relation)
  if (change.old !== null) rows.stash.throwIfWaiting(relation, key, change.old)
  // under identity default the source checks its key at once
  const taken = relation.identity !== 'default' && (await rows.run(statements.find(statements.keyOf(row), key))) > 0
  if (!taken) await update(rows, change, key)
  else if (!(await rows.stash.put(relation, key, row))) throw rows.missing(relation)
  await rows.stash.freed(relation, key)
}
