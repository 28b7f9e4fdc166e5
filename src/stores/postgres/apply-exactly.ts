import type { Change } from '../../model/change.ts'
import type { RowWriter } from './row-writer.ts'

/** Does to the target what the change did to the source. Throws ROW_MISSING when the row is not there. */
export async function applyExactly(rows: RowWriter, change: Change): Promise<void> {
  if (change.op === 'truncate') return rows.truncate(change)
  const statements = rows.of(change.relation)
  if (change.op === 'insert') {
    await rows.run(statements.insert(change.row))
    return
  }
  if (change.op === 'delete') {
    if ((await rows.run(statements.delete(statements.keyOf(change.old)))) === 0) throw rows.missing(change.relation)
    return
  }
  const key = statements.keyOf(change.old ?? change.row)
  const update = statements.update(key, change.row)
  if (update !== null && (await rows.run(update)) === 1) return
  // a "generated always" identity cannot be updated: the row is made anew
  if ((await rows.run(statements.move(key, change.row))) === 0) throw rows.missing(change.relation)
}
