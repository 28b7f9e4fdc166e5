import type { ServiceConfig } from '../config/schema.ts'
import { MigrateError } from '../errors.ts'
import type { Sql } from '../model/sql.ts'
import { readTable, type TableInfo } from '../stores/postgres/catalogue.ts'
import { parseTableName } from '../stores/postgres/identifier.ts'

/** The service's tables as one database has them, in the order of the configuration. Throws TARGET_SCHEMA. */
export async function readTables(sql: Sql, name: string, service: ServiceConfig): Promise<TableInfo[]> {
  return Promise.all(
    Object.keys(service.tables).map(async (text) => {
      const table = await readTable(sql, parseTableName(text))
      if (table === null)
        throw new MigrateError('TARGET_SCHEMA', { table: text, service: name, difference: 'it is not there' })
      return table
    }),
  )
}
