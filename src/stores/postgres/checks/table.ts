import { parseTableName } from '../identifier.ts'
import { byHand, type Check } from './check.ts'

export const table: Check = {
  id: 'table',
  severity: 'error',
  looksFor: 'a table of the configuration that the monolith does not have',
  why: 'There would be nothing to copy.',
  async find({ wanted, tables, monolith, service }) {
    return wanted
      .filter((text) => {
        const { schema, name } = parseTableName(text)
        return !tables.some((found) => found.schema === schema && found.name === name)
      })
      .map((text) =>
        byHand(monolith, `the monolith has no table ${text}`, 'none', `Correct services.${service}.tables.`),
      )
  },
}
