/** What a database's catalogue says about its tables; a store reads it, this folder thinks about it. */
export interface Survey {
  readonly database: string
  /** of the server, as text */
  readonly version: string
  readonly tables: readonly SurveyTable[]
  readonly keys: readonly SurveyKey[]
  /** roles that have a client connected, apart from ours */
  readonly logins: readonly string[]
}

export interface SurveyTable {
  readonly schema: string
  readonly name: string
  /** as of the last ANALYZE, null before the first */
  readonly rows: number | null
  readonly bytes: number | null
  readonly primaryKey: readonly string[]
  /** the database makes the key up: an identity or a sequence */
  readonly numbered: boolean
}

/** A foreign key between two different tables. */
export interface SurveyKey {
  readonly name: string
  readonly from: Pick<SurveyTable, 'schema' | 'name'>
  readonly to: Pick<SurveyTable, 'schema' | 'name'>
  /** rows go with the row that they refer to */
  readonly cascades: boolean
}

/** `users`, or `sales.orders` outside of public: the name that a configuration gives to a table. */
export function fullName({ schema, name }: Pick<SurveyTable, 'schema' | 'name'>): string {
  return schema === 'public' ? name : `${schema}.${name}`
}
