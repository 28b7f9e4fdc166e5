import { isTransient } from './model/transient.ts'

/** Statements under way at once: while one waits for the disk the next one is already worked on. */
const UNDER_WAY = 3
/** Items and bytes that one statement takes at most. */
const MOST = 256
const MOST_BYTES = 1024 * 1024

export interface GroupOptions<Item, Done> {
  /** one statement: a result or an error for each, or a rejection for all, which are tried one by one then */
  readonly write: (items: readonly Item[]) => Promise<(Done | Error)[]>
  /** items of one key are written one after the other, never in one statement */
  readonly keyOf: (item: Item) => string
  readonly bytesOf: (item: Item) => number
}

interface Waiting<Item, Done> {
  readonly item: Item
  readonly key: string
  readonly bytes: number
  resolve(done: Done): void
  reject(error: unknown): void
}

/**
 * Takes concurrent writes together, so that they share statements and commits: whoever comes while statements are under
 * way goes with the next one, and whoever comes alone does not wait. Writes of one key keep their order.
 */
export class GroupQueue<Item, Done> {
  readonly #options: GroupOptions<Item, Done>
  #waiting: Waiting<Item, Done>[] = []
  readonly #keys = new Set<string>()
  #running = 0
  #called = false

  constructor(options: GroupOptions<Item, Done>) {
    this.#options = options
  }

  add(item: Item): Promise<Done> {
    const { keyOf, bytesOf } = this.#options
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, key: keyOf(item), bytes: bytesOf(item), resolve, reject })
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

  async #run(batch: readonly Waiting<Item, Done>[]): Promise<void> {
    this.#running += 1
    try {
      const results = await this.#write(batch.map(({ item }) => item))
      for (const [i, { resolve, reject }] of batch.entries()) {
        const result = results[i]
        if (result === undefined || result instanceof Error) reject(result)
        else resolve(result)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    } finally {
      for (const { key } of batch) this.#keys.delete(key)
      this.#running -= 1
      this.#next()
    }
  }

  async #write(items: readonly Item[]): Promise<(Done | Error)[]> {
    const { write } = this.#options
    try {
      return await write(items)
    } catch (error) {
      if (items.length === 1 || isTransient(error)) throw error
      // one of them is at fault, and the others shall not suffer for it
      const results: (Done | Error)[] = []
      for (const item of items) results.push(...(await write([item]).catch((cause: Error) => [cause])))
      return results
    }
  }

  /** Those whose key is not being written; the rest stays in order. */
  #take(): Waiting<Item, Done>[] {
    const batch: Waiting<Item, Done>[] = []
    const rest: Waiting<Item, Done>[] = []
    const held = new Set<string>()
    let bytes = 0
    for (const waiting of this.#waiting) {
      const { key } = waiting
      const fits = batch.length === 0 || (batch.length < MOST && bytes + waiting.bytes <= MOST_BYTES)
      if (fits && !held.has(key) && !this.#keys.has(key)) {
        batch.push(waiting)
        bytes += waiting.bytes
      } else rest.push(waiting)
      held.add(key)
    }
    for (const { key } of batch) this.#keys.add(key)
    this.#waiting = rest
    return batch
  }
}
