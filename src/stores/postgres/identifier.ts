/** A table of a database by schema and name. */
export interface TableName {
  readonly schema: string
  readonly name: string
}

/** Quotes one identifier. Throws a RangeError on what PostgreSQL would cut or refuse. */
export function quote(identifier: string): string {
  if (
    identifier === '' ||
    identifier.includes('\0') ||
    !identifier.isWellFormed() ||
    Buffer.byteLength(identifier) > 63
  ) {
    throw new RangeError('not a PostgreSQL identifier')
  }
  return `"${identifier.replaceAll('"', '""')}"`
}

export function quoteTable(table: TableName): string {
  return `${quote(table.schema)}.${quote(table.name)}`
}

/** Reads `table` or `schema.table`; without a schema it is `public`. */
export function parseTableName(text: string): TableName {
  const dot = text.indexOf('.')
  return dot < 0 ? { schema: 'public', name: text } : { schema: text.slice(0, dot), name: text.slice(dot + 1) }
}

/** A string literal for commands that take no parameters (replication commands, DDL). */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
