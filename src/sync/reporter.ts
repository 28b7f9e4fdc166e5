import type { Lsn } from '../model/lsn.ts'
import type { Checkpoint, PipelineControl } from './ports.ts'

const EVERY = 1_000
const NEWS_EVERY = 100

/** Tells the control database where a pipeline stands: every second, and soon after something was written. */
export class Reporter {
  readonly #control: PipelineControl
  readonly #where: () => { applied: Lsn; source: Lsn; checkpoint: Checkpoint }
  #last = 0
  #reported = 0n
  #news = true

  constructor(control: PipelineControl, where: () => { applied: Lsn; source: Lsn; checkpoint: Checkpoint }) {
    this.#control = control
    this.#where = where
  }

  get isDue(): boolean {
    const age = performance.now() - this.#last
    return age >= EVERY || (this.#news && age >= NEWS_EVERY)
  }

  /** Something was written. */
  note(): void {
    this.#news = true
  }

  async tell(phase: 'streaming' | 'stopped'): Promise<void> {
    const { applied, source, checkpoint } = this.#where()
    this.#last = performance.now()
    const { state, hold } = checkpoint
    await this.#control.publish({ phase, state, applied, source, hold, news: applied > this.#reported })
    this.#reported = applied
    this.#news = false
  }
}
