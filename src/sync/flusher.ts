import { pause } from '../model/pause.ts'
import type { PipelineOptions } from './options.ts'
import type { Standing } from './standing.ts'

/** One flush waits for the target's disk; the next one begins no sooner than this after it, milliseconds. */
const BETWEEN_MS = 20

/**
 * Makes durable what was written without waiting for the target's disk, beside the writing, and acknowledges it then.
 * What it acknowledges is the position that the target itself shows in the transaction that was flushed: a target that
 * has crashed in between shows an older one.
 */
export class Flusher {
  readonly #options: Pick<PipelineOptions, 'sink' | 'stream' | 'failpoint' | 'direction'>
  readonly #standing: Standing
  readonly #flushed: () => void
  #running: Promise<void> | null = null
  #failure: { error: unknown } | null = null
  readonly #closing = new AbortController()

  constructor(options: PipelineOptions, standing: Standing, flushed: () => void) {
    this.#options = options
    this.#standing = standing
    this.#flushed = flushed
  }

  /** Something was written. Throws what the last flush has thrown. */
  begin(): void {
    if (this.#failure !== null) throw this.#failure.error
    if (!this.#standing.isBehind || this.#running !== null) return
    this.#running = this.#flush()
      .catch((error: unknown) => {
        if (!this.#closing.signal.aborted) this.#failure = { error }
      })
      .finally(() => {
        this.#running = null
        this.#flushed()
      })
  }

  /** Waits for the flush under way, and makes the last writes durable if that can be done. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the pipeline ends'))
    await this.#running
    // what is not acknowledged comes again
    if (this.#standing.isBehind && this.#failure === null) await this.#once().catch(() => undefined)
  }

  async #flush(): Promise<void> {
    await this.#once()
    await pause(BETWEEN_MS, this.#closing.signal)
  }

  async #once(): Promise<void> {
    const { sink, stream, failpoint, direction } = this.#options
    const durable = await sink.flush()
    if (durable === null) {
      this.#standing.stale = true
      return
    }
    this.#standing.flushed(durable)
    stream.acknowledge(durable)
    await failpoint(`sync.${direction}.after-ack`)
  }
}
