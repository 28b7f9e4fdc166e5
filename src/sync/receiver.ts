import type { Lsn } from '../model/lsn.ts'
import type { Block } from './block.ts'
import type { SpoolFile, WalStream } from './ports.ts'
import { isOurs, type Pending } from './queue.ts'
import type { RawTransaction } from './raw-transaction.ts'
import { SlabKeeper } from './slab-keeper.ts'
import { Transactions } from './transactions.ts'

export interface ReceiverOptions {
  readonly service: string
  readonly stream: WalStream
  /** the target's checkpoint: everything before it is known */
  readonly from: Lsn
  /** for transactions that the source streams before their end */
  readonly openSpool: () => SpoolFile
  /** must each transaction wait by itself, or may small ones be taken as one? */
  readonly apart: () => boolean
  /** called when something has come, and when the stream has ended */
  readonly news: () => void
}

/** What waits to be written, as it came. */
export type Received = Pending & { readonly transaction: RawTransaction; readonly memory: number }

/** Bytes of transactions that may wait in memory before the stream is no longer pulled. */
const WAITING_BYTES = 8 * 1024 * 1024
/** How many parts of big transactions may wait, which are 4 MiB each of a file. */
const WAITING_PARTS = 128
/** What a transaction takes in memory besides its bytes, about. */
const OVERHEAD_BYTES = 500

/** Pulls a stream into a queue of whole transactions; the bytes in it are the back-pressure. */
export class Receiver {
  readonly #options: ReceiverOptions
  readonly #transactions: Transactions
  readonly #slabs: SlabKeeper
  #queue: Received[] = []
  #bytes = 0
  #parts = 0
  #received: Lsn
  /** a big transaction, some parts of which have come, is an apply of ours */
  #ours = false
  /** a transaction has come in part */
  #inParts = false
  #closing = false
  #drained: () => void = () => undefined
  #ended: { error: unknown } | null = null
  #running: Promise<void> | null = null

  constructor(options: ReceiverOptions) {
    this.#options = options
    this.#received = options.from
    this.#slabs = new SlabKeeper((bytes) => options.stream.recycle(bytes))
    this.#transactions = new Transactions(options.openSpool, options.apart)
  }

  /** What waits, oldest first. */
  get queue(): readonly Received[] {
    return this.#queue
  }

  /** Everything that the source had committed up to here has come. */
  get received(): Lsn {
    return this.#received
  }

  /** Nothing waits and no transaction is half received. */
  get isIdle(): boolean {
    return this.#queue.length === 0 && !this.#inParts && !this.#transactions.inside
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
    for (const { transaction, memory } of this.#queue.splice(0, count)) {
      this.#bytes -= memory
      if (transaction.part !== 'whole') this.#parts -= 1
      transaction.release()
    }
    this.#slabs.release(this.#oldestInUse())
    if (this.#slabs.isCrowded) this.#slabs.releaseAllBut(this.#allInUse())
    this.#drained()
  }

  *#allInUse(): Generator<Block> {
    for (const { transaction } of this.#queue) for (const { block } of transaction.held) yield block
    yield* this.#transactions.blocksInUse()
  }

  /** The oldest block is among those of the first transaction that waits, or of the one that is still coming. */
  *#oldestInUse(): Generator<Block> {
    for (const { transaction } of this.#queue) {
      for (const { block } of transaction.held) {
        yield block
        // those of a spool are not the stream's
        if (block.release === undefined) return
      }
    }
    yield* this.#transactions.blocksInUse()
  }

  /** Closes the stream and waits for the end of what still reads it. */
  async close(): Promise<void> {
    this.#closing = true
    this.#drained()
    await this.#options.stream[Symbol.asyncDispose]()
    await this.#running
    this.#transactions[Symbol.dispose]()
  }

  async #pull(): Promise<void> {
    for await (const block of this.#options.stream.blocks()) {
      this.#slabs.add(block)
      for (const transaction of this.#transactions.push(block)) {
        this.#take(transaction)
        if (this.#isFull) await this.#room()
        if (this.#closing) return
      }
      // what has gone into a spool lies in none of these any more
      this.#slabs.release(this.#oldestInUse())
      if (this.#slabs.isCrowded) this.#slabs.releaseAllBut(this.#allInUse())
      if (this.#slabs.isFull) await this.#room()
      if (this.#closing) return
      const { walEnd } = block
      // inside a transaction the server's position says nothing about what is still to come
      if (walEnd !== null && walEnd > this.#received && !this.#transactions.inside) this.#received = walEnd
      this.#options.news()
    }
  }

  get #isFull(): boolean {
    return this.#bytes > WAITING_BYTES || this.#parts > WAITING_PARTS || this.#slabs.isFull
  }

  async #room(): Promise<void> {
    this.#options.news()
    while (this.#isFull && !this.#closing) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve
      })
    }
  }

  #take(transaction: RawTransaction): void {
    const { part, commitLsn } = transaction
    const begins = part === 'whole' || part === 'first'
    // an apply of ours says so before its first change
    if (begins) this.#ours = isOurs(transaction, this.#options.service)
    this.#inParts = part === 'first' || part === 'middle'
    if (!this.#inParts) this.#received = commitLsn
    const kept = this.#ours ? transaction.withoutChanges() : transaction
    const memory = kept.memory + OVERHEAD_BYTES
    this.#queue.push({ transaction: kept, memory, receivedAt: performance.now() })
    this.#bytes += memory
    if (part !== 'whole') this.#parts += 1
  }

  #end(error: unknown): void {
    this.#ended = { error }
    this.#options.news()
  }
}
