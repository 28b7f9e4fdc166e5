// What the library that the services import asks of a service's own database. `pg` fits: services pass their Pool.

/** Statements outside of a transaction, or a client inside an open one; `pg`'s Pool, Client and PoolClient fit. */
export interface TransactionClient {
  // biome-ignore lint/suspicious/noExplicitAny: the shape of pg's own result rows
  query(text: string, values?: unknown[]): Promise<{ rows: any[]; rowCount: number | null }>
}

/** A client of a pool, until it is released. */
export interface PooledClient extends TransactionClient {
  /** with an error (or true) the connection is closed instead of going back */
  release(error?: Error | boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown
  // biome-ignore lint/suspicious/noExplicitAny: as an EventEmitter has it
  off(event: string, listener: (...args: any[]) => void): unknown
}

/** The service's connections; `pg`'s Pool fits. */
export interface ConnectionPool extends TransactionClient {
  connect(): Promise<PooledClient>
}
