import { quote, quoteTable } from '../identifier.ts'
import { byHand, bySql, type Check, type Found } from './check.ts'

export const generatedColumns: Check = {
  id: 'generated-columns',
  severity: 'error',
  looksFor: 'a generated column that is generated on one side only; on both sides it is for information',
  why: 'Its values are not in the stream: each side computes its own, or the column stays empty.',
  async find({ monolith, target, tables, targetTables, service }) {
    return tables.flatMap((table) => {
      const twin = targetTables.find(({ schema, name }) => schema === table.schema && name === table.name)
      return table.columns.flatMap((column): Found[] => {
        const other = twin?.columns.find(({ name }) => name === column.name)
        const here = column.generated !== ''
        const there = other === undefined ? here : other.generated !== ''
        if (!here && !there) return []
        const name = `${table.schema}.${table.name}.${column.name}`
        if (here && there) {
          const fix = `Nothing to do: ${service} computes it by its own expression. See that both are the same.`
          return [{ side: monolith, severity: 'info', message: `${name} is generated`, measured: 'on both sides', fix }]
        }
        const message = `${name} is generated on one side only`
        if (there) {
          const sql = `alter table ${quoteTable(table)} alter column ${quote(column.name)} drop expression;`
          return [bySql(target, message, `in ${service} only`, [sql])]
        }
        const fix = `Make it generated in ${service}, with the same expression.`
        return [byHand(target, message, 'in the monolith only', fix)]
      })
    })
  },
}
