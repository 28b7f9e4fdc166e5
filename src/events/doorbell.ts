import type { TransactionClient } from '../model/service-database.ts'

/** The channel on which subscribers are told that there may be something new. */
export const CHANNEL = 'eventing'
/** Commits with a NOTIFY wait for each other in all of PostgreSQL, so one tells of many appends; milliseconds. */
const APART = 10

/** Tells subscribers of appends: a hint, which may get lost, beside the appends and never in their transactions. */
export class Doorbell {
  readonly #client: TransactionClient
  #timer: NodeJS.Timeout | null = null

  constructor(client: TransactionClient) {
    this.#client = client
  }

  ring(): void {
    if (this.#timer !== null) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      // whoever does not hear it looks by itself before long
      this.#client.query(`select pg_notify($1, '')`, [CHANNEL]).catch(() => undefined)
    }, APART)
    this.#timer.unref()
  }
}
