import type { Append, Appended } from './append.ts'

/** Statements under way at once: while one waits for the disk the next one is already worked on. */
const UNDER_WAY = 3
/** Appends and bytes that one statement takes at most. */
const MOST = 256
const MOST_BYTES = 1024 * 1024

interface Waiting {
  readonly append: Append
  readonly bytes: number
  resolve(done: Appended): void
  reject(error: unknown): void
}

/**
 * Takes concurrent appends together, so that they share statements and commits: whoever comes while statements are
 * under way goes with the next one, and whoever comes alone does not wait. Appends to one stream keep their order.
 */
export class AppendQueue {
  readonly #write: (appends: readonly Append[]) => Promise<(Appended | Error)[]>
  #waiting: Waiting[] = []
  readonly #streams = new Set<string>()
  #running = 0
  #called = false

  constructor(write: (appends: readonly Append[]) => Promise<(Appended | Error)[]>) {
    this.#write = write
  }

  add(append: Append): Promise<Appended> {
    const bytes = append.events.reduce((sum, { data, metadata }) => sum + data.length + metadata.length, 0)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ append, bytes, resolve, reject })
      if (this.#called) return
      this.#called = true
      // those that come in the same turn of the event loop go together
      queueMicrotask(() => {
        this.#called = false
        this.#next()
      })
    })
  }

  #next(): void {
    while (this.#running < UNDER_WAY) {
      const batch = this.#take()
      if (batch.length === 0) return
      void this.#run(batch)
    }
  }

  async #run(batch: readonly Waiting[]): Promise<void> {
    this.#running += 1
    try {
      const results = await this.#write(batch.map(({ append }) => append))
      for (const [i, { resolve, reject }] of batch.entries()) {
        const result = results[i]
        if (result === undefined || result instanceof Error) reject(result)
        else resolve(result)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    } finally {
      for (const { append } of batch) this.#streams.delete(append.stream)
      this.#running -= 1
      this.#next()
    }
  }

  /** Those whose stream is not being written; the rest stays in order. */
  #take(): Waiting[] {
    const [batch, rest]: [Waiting[], Waiting[]] = [[], []]
    const held = new Set<string>()
    let bytes = 0
    for (const waiting of this.#waiting) {
      const { stream } = waiting.append
      const fits = batch.length === 0 || (batch.length < MOST && bytes + waiting.bytes <= MOST_BYTES)
      if (fits && !held.has(stream) && !this.#streams.has(stream)) {
        batch.push(waiting)
        bytes += waiting.bytes
      } else rest.push(waiting)
      held.add(stream)
    }
    for (const { append } of batch) this.#streams.add(append.stream)
    this.#waiting = rest
    return batch
  }
}
