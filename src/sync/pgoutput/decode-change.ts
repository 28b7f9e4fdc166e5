import { MigrateError } from '../../errors.ts'
import type { Change, Relation } from '../../model/change.ts'
import { decode } from './decode.ts'

/**
 * Decodes a message I, U, D or T. Values are views into `bytes`. Throws STREAM_MALFORMED, also on a table that was not
 * described and on a row with another number of columns than its table.
 */
export function decodeChange(bytes: Buffer, relations: ReadonlyMap<number, Relation>): Change {
  const message = decode(bytes)
  const find = (id: number): Relation => {
    const relation = relations.get(id)
    if (relation === undefined) throw malformed(`unknown relation ${id}`)
    return relation
  }
  if (message.kind === 'insert') {
    const relation = find(message.relationId)
    return { op: 'insert', relation, row: fitting(message.row, relation) }
  }
  if (message.kind === 'update') {
    const relation = find(message.relationId)
    const old = message.old === null ? null : fitting(message.old, relation)
    return { op: 'update', relation, old, row: fitting(message.row, relation) }
  }
  if (message.kind === 'delete') {
    const relation = find(message.relationId)
    return { op: 'delete', relation, old: fitting(message.old, relation) }
  }
  if (message.kind === 'truncate') {
    const { cascade, restartIdentity } = message
    return { op: 'truncate', relations: message.relationIds.map(find), cascade, restartIdentity }
  }
  throw malformed(`${message.kind} is no change`)
}

function fitting<R extends readonly unknown[]>(row: R, relation: Relation): R {
  if (row.length !== relation.columns.length) throw malformed('columns')
  return row
}

function malformed(reason: string): MigrateError {
  return new MigrateError('STREAM_MALFORMED', { reason })
}
