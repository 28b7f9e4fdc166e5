import type { RowWrite, WriteOutcome } from '../../sync/ports.ts'
import type { RowWriter } from './row-writer.ts'

/** Makes one row equal to the monolith's, whatever a second leg has made of it. */
export async function converge(rows: RowWriter, write: RowWrite): Promise<WriteOutcome> {
  const statements = rows.of(write.relation)
  switch (write.op) {
    case 'delete':
      return (await rows.run(statements.delete(write.key))) === 0 ? 'equal' : 'repaired'
    case 'insert': {
      const outdated = statements.outdated(write.row)
      const removed = outdated === null ? 0 : await rows.run(outdated)
      const changed = await rows.run(statements.upsert(write.row))
      return removed + changed === 0 ? 'equal' : 'repaired'
    }
    case 'update': {
      if (statements.hasFixedValues) {
        return (await rows.run(statements.move(write.key, write.row))) === 0 ? 'missing' : 'repaired'
      }
      const repair = statements.repair(write.key, write.row)
      if (repair !== null && (await rows.run(repair)) > 0) return 'repaired'
      return (await rows.run(statements.find(write.key))) === 0 ? 'missing' : 'equal'
    }
  }
}
