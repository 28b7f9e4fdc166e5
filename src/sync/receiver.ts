import type { Lsn } from '../model/lsn.ts'
import type { WalStream } from './ports.ts'
import { isOurs, type Pending } from './queue.ts'
import { Transactions } from './transactions.ts'

export interface ReceiverOptions {
  readonly service: string
  readonly stream: WalStream
  /** the target's checkpoint: everything before it is known */
  readonly from: Lsn
  /** called when something has come, and when the stream has ended */
  readonly news: () => void
}

/** Bytes of whole transactions that may wait in memory before the stream is no longer pulled. */
const WAITING_BYTES = 64 * 1024 * 1024

/** Pulls a stream into a queue of whole transactions; the bytes in it are the back-pressure. */
export class Receiver {
  readonly #options: ReceiverOptions
  readonly #transactions = new Transactions()
  #queue: Pending[] = []
  #bytes = 0
  #received: Lsn
  #closing = false
  #drained: () => void = () => undefined
  #ended: { error: unknown } | null = null
  #running: Promise<void> | null = null

  constructor(options: ReceiverOptions) {
    this.#options = options
    this.#received = options.from
  }

  /** What waits, oldest first. */
  get queue(): readonly Pending[] {
    return this.#queue
  }

  /** Everything that the source had committed up to here has come. */
  get received(): Lsn {
    return this.#received
  }

  /** Nothing waits and no transaction is half received. */
  get isIdle(): boolean {
    return this.#queue.length === 0 && !this.#transactions.inside
  }

  /** Set once the stream has failed, or ended by itself (`error` is null then). */
  get ended(): { error: unknown } | null {
    return this.#ended
  }

  start(): void {
    this.#running = this.#pull().then(
      () => this.#end(null),
      (error: unknown) => this.#end(error),
    )
  }

  /** Forgets the first `count` transactions: they are durable in the target. */
  drop(count: number): void {
    for (const { transaction } of this.#queue.splice(0, count)) this.#bytes -= transaction.bytes
    this.#drained()
  }

  /** Closes the stream and waits for the end of what still reads it. */
  async close(): Promise<void> {
    this.#closing = true
    this.#drained()
    await this.#options.stream[Symbol.asyncDispose]()
    await this.#running
  }

  async #pull(): Promise<void> {
    for await (const frames of this.#options.stream.frames()) {
      for (const frame of frames) {
        if (frame.kind === 'message') this.#take(frame.bytes)
        // inside a transaction the server's position says nothing about what is still to come
        else if (!this.#transactions.inside && frame.walEnd > this.#received) this.#received = frame.walEnd
      }
      this.#options.news()
      while (this.#bytes > WAITING_BYTES && !this.#closing) {
        await new Promise<void>((resolve) => {
          this.#drained = resolve
        })
      }
    }
  }

  #take(bytes: Buffer): void {
    const transaction = this.#transactions.push(bytes)
    if (transaction === null) return
    this.#received = transaction.commitLsn
    this.#queue.push({
      transaction: isOurs(transaction, this.#options.service) ? { ...transaction, changes: [] } : transaction,
      receivedAt: performance.now(),
    })
    this.#bytes += transaction.bytes
  }

  #end(error: unknown): void {
    this.#ended = { error }
    this.#options.news()
  }
}
