import { type Relation, type Row, UNCHANGED } from '../model/change.ts'
import { keyText } from './converge.ts'
import type { RowName } from './ports.ts'

/** A foreign key between two tables of one service; names are `schema.table`. */
export interface InnerForeignKey {
  readonly from: string
  /** in the order of the parent's primary key */
  readonly columns: readonly string[]
  readonly to: string
}

/** Equal for equal rows, whichever side's stream has named them. */
export function nameOf({ relation, key }: RowName): string {
  return `${tableOf(relation)}:${keyText(key)}`
}

/** The names of the rows that this row points to by foreign keys inside the service. */
export function parentsOf(relation: Relation, row: Row, keys: readonly InnerForeignKey[]): string[] {
  const table = tableOf(relation)
  return keys
    .filter(({ from }) => from === table)
    .flatMap(({ to, columns }) => {
      const values = columns.map((name) => row[relation.columns.findIndex((column) => column.name === name)] ?? null)
      // a value that is null points nowhere; one that was not sent has not changed, and so has not its parent
      return values.some((value) => value === null || value === UNCHANGED) ? [] : [`${to}:${keyText(values)}`]
    })
}

function tableOf({ schema, name }: Relation): string {
  return `${schema}.${name}`
}
