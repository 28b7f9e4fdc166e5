import { setTimeout as wait } from 'node:timers/promises'
import { type Alerts, NO_ALERTS } from '../model/alert.ts'
import { within } from '../model/within.ts'
import type { DeadLetter } from './dead-letter.ts'
import type { IntentOutcome, Intents, LegProgress } from './intents.ts'
import { Notes } from './notes.ts'

export interface RecordOptions {
  readonly intents: Intents
  readonly alerts?: Alerts | undefined
  readonly log: (line: string) => void
}

/** What is to be durable about second legs. Nothing here rejects: a leg has happened, recorded or not. */
export class LegRecords {
  readonly #options: RecordOptions
  readonly #notes: Notes

  constructor(options: RecordOptions) {
    this.#options = options
    this.#notes = new Notes(options.intents, options.log)
  }

  /** For a leg whose state others decide; written soon. */
  note(key: string, progress: LegProgress): void {
    this.#notes.add(key, progress)
  }

  settle(key: string, outcome: IntentOutcome, progress?: LegProgress): Promise<void> {
    // Left open in the end: the sink revokes it, which does no harm to a leg that was applied.
    return this.#record('the outcome of a second leg', () => this.#options.intents.settle(key, outcome, progress))
  }

  async bury(letter: DeadLetter): Promise<void> {
    const { alerts = NO_ALERTS, intents, log } = this.#options
    const { service, code, method, route, monolithStatus, serviceStatus } = letter
    const what = `${code} for ${method} ${route}`
    log(`${service}: a second leg became a dead letter: ${what}`)
    alerts.raise({
      name: 'leg-exhausted',
      service,
      summary: `A second leg of ${service} became a dead letter: ${what}.`,
      next: `migrate dlq list --service ${service}`,
      context: { code, method, route, monolithStatus, ...(serviceStatus === null ? {} : { serviceStatus }) },
    })
    await this.#record('a dead letter', () => intents.bury(letter))
  }

  /** Writes the notes that still wait. */
  close(): Promise<void> {
    return this.#notes.flush()
  }

  async #record(what: string, write: () => Promise<void>): Promise<void> {
    for (const delay of DELAYS) {
      await wait(delay)
      try {
        return await within(write(), LONGEST)
      } catch (error) {
        if (delay !== DELAYS.at(-1)) continue
        this.#options.log(`${what} was not recorded: ${(error as Error).message}`)
      }
    }
  }
}

/** Waits before each try, and the time that one may take. */
const DELAYS = [0, 50, 200]
const LONGEST = 1_000
