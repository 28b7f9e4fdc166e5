// The messages of a replication slot as the server sends them, with any options of the plugin: for recording.
import pg from 'pg'
import type { Cdc } from './cdc.ts'

export interface RawStream extends AsyncDisposable {
  /** in the order in which they came; copies */
  readonly messages: readonly Buffer[]
  /** Waits until the server has sent everything that is in its log now, also of open transactions. */
  passed(): Promise<void>
}

interface CopyConnection {
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): void
}

/** Nothing is ever acknowledged. */
export async function openRawStream(cdc: Cdc, slot: string, options: Record<string, string>): Promise<RawStream> {
  const name = 'raw stream'
  const config = { connectionString: cdc.sourceUrl, application_name: name, replication: 'database' }
  const client = new pg.Client(config as pg.ClientConfig)
  const messages: Buffer[] = []
  // it ends by being cut off, see below
  client.on('error', () => undefined)
  await client.connect()
  const connection = (client as unknown as { connection: CopyConnection }).connection
  connection.on('copyData', ({ chunk }) => {
    if (chunk[0] === 0x77) messages.push(Buffer.from(chunk.subarray(25)))
  })
  const settings = Object.entries(options).map(([key, value]) => `${key} '${value}'`)
  // answers only with its end
  const ended = client.query(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 (${settings.join(', ')})`).then(
    () => undefined,
    (error: unknown) => error,
  )
  const sent = `select sent_lsn >= $1::pg_lsn as passed from pg_stat_replication where application_name = '${name}'`
  return {
    messages,
    async passed() {
      const { rows } = await cdc.source.query<{ at: string }>(`select pg_current_wal_insert_lsn()::text as at`)
      // a commit flushes the log of open transactions too; it is not sent, as it is empty
      await cdc.source.query(`select pg_current_xact_id()`)
      while ((await cdc.source.query(sent, [rows[0]?.at])).rows[0]?.passed !== true);
      // what was sent is in the socket: a round trip later it is here
      await new Promise((resolve) => setImmediate(resolve))
    },
    async [Symbol.asyncDispose]() {
      // an answer to CopyBoth would be needed for an orderly end
      ;(client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
      await ended
    },
  }
}
