/** The little that control, cutover and features ask of a PostgreSQL database; stores/postgres implements it. */
export interface Sql {
  query<R = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<SqlResult<R>>
}

export interface SqlResult<R> {
  readonly rows: R[]
  readonly rowCount: number
}

/** A database: pooled statements, transactions, notifications. Errors are translated to MigrateError. */
export interface Database extends Sql, AsyncDisposable {
  /** Runs in one transaction; rolled back when `run` throws. */
  transaction<T>(run: (sql: Sql) => Promise<T>): Promise<T>
  /** Calls back for each notification until disposed; reconnects by itself, calling back once after each reconnect. */
  listen(channel: string, notified: (payload: string) => void): AsyncDisposable
}
