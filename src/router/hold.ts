import type { RouterLimits } from './options.ts'

/** A write that waits unsent; its body is in memory. */
export interface HeldWrite {
  readonly service: string
  readonly bytes: number
  /** the bound on the time is over: answer without sending it */
  expire(): void
}

type HoldLimits = Pick<RouterLimits, 'heldRequests' | 'heldBytes' | 'heldMs'>

/** Writes that wait for a hold to end, per service in the order of their arrival, bounded in count, bytes and time. */
export class Holds<Write extends HeldWrite> {
  readonly #queues = new Map<string, Queue<Write>>()
  readonly #limits: HoldLimits

  constructor(limits: HoldLimits) {
    this.#limits = limits
  }

  /** False when the bounds are reached: the write must be refused. */
  add(write: Write): boolean {
    const queue = this.#queues.get(write.service) ?? { writes: new Map(), bytes: 0 }
    const full = queue.writes.size >= this.#limits.heldRequests || queue.bytes + write.bytes > this.#limits.heldBytes
    if (full) return false
    this.#queues.set(write.service, queue)
    const timer = setTimeout(() => {
      this.remove(write)
      write.expire()
    }, this.#limits.heldMs)
    queue.writes.set(write, timer)
    queue.bytes += write.bytes
    return true
  }

  /** True if the write was waiting. */
  remove(write: Write): boolean {
    const queue = this.#queues.get(write.service)
    const timer = queue?.writes.get(write)
    if (queue === undefined || timer === undefined) return false
    clearTimeout(timer)
    queue.writes.delete(write)
    queue.bytes -= write.bytes
    if (queue.writes.size === 0) this.#queues.delete(write.service)
    return true
  }

  /** Hands out the waiting writes in order, as long as `letGo` takes them. Only ever called on a reading just made. */
  release(letGo: (write: Write) => boolean): void {
    for (const queue of [...this.#queues.values()]) {
      for (const write of [...queue.writes.keys()]) {
        if (!letGo(write)) break
      }
    }
  }

  count(service: string): number {
    return this.#queues.get(service)?.writes.size ?? 0
  }

  get empty(): boolean {
    return this.#queues.size === 0
  }
}

interface Queue<Write> {
  readonly writes: Map<Write, NodeJS.Timeout>
  bytes: number
}
