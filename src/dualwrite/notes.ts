import type { Intents, LegProgress } from './intents.ts'

/** Notes are written together so often, milliseconds. */
const EVERY = 100
/** So many wait at most while the control database is away. */
const MOST = 10_000

/**
 * Makes the progress of unanswered legs durable, many in one statement: while a service is down every write of its
 * clients has such a leg, and the statements go to the monolith's server by default.
 */
export class Notes {
  readonly #intents: Pick<Intents, 'note'>
  readonly #log: (line: string) => void
  #waiting = new Map<string, LegProgress>()
  #writing: Promise<void> | null = null

  constructor(intents: Pick<Intents, 'note'>, log: (line: string) => void) {
    this.#intents = intents
    this.#log = log
  }

  add(key: string, progress: LegProgress): void {
    if (this.#waiting.size >= MOST && !this.#waiting.has(key)) return
    this.#waiting.set(key, progress)
    this.#writing ??= this.#writeSoon()
  }

  /** Resolves when everything added so far was written, or cannot be. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing
  }

  async #writeSoon(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, EVERY))
    const batch = this.#waiting
    this.#waiting = new Map()
    try {
      await this.#intents.note(batch)
    } catch (error) {
      // Nothing depends on it: without a position the sync takes one that is certainly late enough.
      this.#log(`the progress of ${batch.size} second legs was not recorded: ${(error as Error).message}`)
    }
    this.#writing = this.#waiting.size > 0 ? this.#writeSoon() : null
  }
}
