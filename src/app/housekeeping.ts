import { asMigrateError } from '../errors.ts'
import { retry } from '../retry.ts'
import { pause } from '../model/pause.ts'
import type { App } from './open.ts'

const EVERY = 10 * 60_000

/**
 * Removes what nobody can ask for any more: idempotency keys beyond their 24 hours (leg_begin refuses older ones by the
 * time in the key), settled intents, routers that are gone. Runs until the signal aborts.
 */
export async function keepHouse(app: App, service: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await retry(() => sweep(app, service), { signal, tries: 3 })
      await pause(EVERY, signal)
    } catch (error) {
      if (signal.aborted) return
      // nothing depends on it; the next round tries again
      if (asMigrateError(error).retry !== 'timed') throw error
      await pause(EVERY, signal).catch(() => undefined)
    }
  }
}

async function sweep(app: App, service: string): Promise<void> {
  await app
    .service(service)
    .query(`delete from migrate.seen where service = $1 and at < now() - interval '25 hours'`, [service])
  await app
    .service(service)
    .query(`delete from migrate.undo where service = $1 and at < now() - interval '30 days'`, [service])
  await app.control.query(
    `delete from migrate.intent where service = $1 and state not in ('open', 'unsettled') and opened_at < now() - interval '25 hours'`,
    [service],
  )
  await app.control.query(
    `delete from migrate.dead_letter where service = $1 and state <> 'open' and resolved_at < now() - interval '30 days'`,
    [service],
  )
  await app.control.query(`delete from migrate.router where expires_at < now() - interval '1 hour'`)
}
