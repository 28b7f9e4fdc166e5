import type { TableInfo } from '../catalogue.ts'
import { quote, quoteTable } from '../identifier.ts'
import { byHand, bySql, type Check, type Found, type Side } from './check.ts'

export const target: Check = {
  id: 'target',
  severity: 'error',
  looksFor: "a table of the service that is missing, or whose columns or primary key are not the monolith's",
  why: 'A row of the monolith would not fit into it.',
  async find({ tables, target: side, targetTables, service }) {
    return tables.flatMap((source) => {
      const name = `${source.schema}.${source.name}`
      const found = targetTables.find((table) => table.schema === source.schema && table.name === source.name)
      if (found !== undefined) return differences(source, found, side)
      const fix = `Create it, with the columns and the primary key of the monolith: pg_dump --schema-only --table='${name}' shows them.`
      return [byHand(side, `${service} has no table ${name}`, 'none', fix)]
    })
  },
}

function differences(source: TableInfo, found: TableInfo, side: Side): Found[] {
  const name = `${source.schema}.${source.name}`
  const table = quoteTable(source)
  const all: Found[] = []
  for (const column of source.columns) {
    const twin = found.columns.find((c) => c.name === column.name)
    if (twin?.type === column.type) continue
    const id = quote(column.name)
    if (twin === undefined) {
      const sql = `alter table ${table} add column ${id} ${column.type};`
      all.push(bySql(side, `column ${column.name} of ${name} is missing`, 'none', [sql]))
    } else {
      const sql = `alter table ${table} alter column ${id} type ${column.type};`
      all.push(bySql(side, `column ${column.name} of ${name} is not ${column.type}`, twin.type, [sql]))
    }
  }
  if (found.primaryKey.join() !== source.primaryKey.join() && source.primaryKey.length > 0) {
    const sql = `alter table ${table} add primary key (${source.primaryKey.map(quote).join(', ')});`
    const measured = found.primaryKey.length === 0 ? 'none' : found.primaryKey.join(', ')
    all.push(bySql(side, `the primary key of ${name} is not the monolith's`, measured, [sql]))
  }
  return all
}
