import { MigrateError } from '../../errors.ts'
import { TextValue, UNCHANGED, type Value } from '../../model/change.ts'
import type { Sql } from '../../model/sql.ts'
import type { RowName } from '../../sync/ports.ts'
import type { TableInfo } from './catalogue.ts'
import { quote, quoteTable } from './identifier.ts'

/** So many keys are asked for with one statement. */
const AT_ONCE = 200

/** Those of the rows that this database does not have; each is looked for by its primary key. */
export async function lackingRows(
  sql: Sql,
  tables: readonly TableInfo[],
  rows: readonly RowName[],
): Promise<RowName[]> {
  const lacking: RowName[] = []
  for (const table of tables) {
    const own = rows.filter(({ relation }) => relation.schema === table.schema && relation.name === table.name)
    for (let from = 0; from < own.length; from += AT_ONCE) {
      lacking.push(...(await lackingOf(sql, table, own.slice(from, from + AT_ONCE))))
    }
  }
  return lacking
}

async function lackingOf(sql: Sql, table: TableInfo, rows: readonly RowName[]): Promise<RowName[]> {
  const { primaryKey } = table
  const types = primaryKey.map((name) => table.columns.find((column) => column.name === name)?.type ?? 'text')
  const lists = rows.map((_, n) => {
    const values = types.map((type, i) => `$${n * primaryKey.length + i + 1}::${type}`)
    return `(${n}, ${values.join(', ')})`
  })
  const names = primaryKey.map((_, i) => `k${i}`).join(', ')
  const equal = primaryKey.map((name, i) => `t.${quote(name)} = w.k${i}`).join(' and ')
  const { rows: found } = await sql.query<{ n: number }>(
    `select w.n from (values ${lists.join(', ')}) as w (n, ${names})
     where not exists (select from ${quoteTable(table)} t where ${equal})`,
    rows.flatMap(({ key }) => key.map(parameter)),
  )
  const lacking = new Set(found.map(({ n }) => n))
  return rows.filter((_, n) => lacking.has(n))
}

/** A Buffer goes over the wire as it came: in PostgreSQL's binary form. */
function parameter(value: Value): Buffer | string | null {
  if (value === UNCHANGED) throw new MigrateError('INTERNAL', { reason: 'a key that was not sent' })
  return value instanceof TextValue ? value.bytes.toString('utf8') : value
}
