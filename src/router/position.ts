import type { Lsn } from '../model/lsn.ts'
import type { RouterControl } from './control.ts'
import type { Counters } from './counters.ts'
import { within } from '../model/within.ts'

/**
 * Samples the monolith's WAL position. All calls made while one sample is under way share the next one: each gets a
 * position that was read after its own call, however many writes there are.
 */
export class PositionSampler {
  readonly #control: Pick<RouterControl, 'position'>
  readonly #counters: Pick<Counters, 'positionFailures'>
  readonly #timeoutMs: number
  #next: Promise<Lsn | null> | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    control: Pick<RouterControl, 'position'>,
    counters: Pick<Counters, 'positionFailures'>,
    timeoutMs: number,
  ) {
    this.#control = control
    this.#counters = counters
    this.#timeoutMs = timeoutMs
  }

  /** An upper bound of everything committed before this call; null when it cannot be had. Never rejects. */
  sample(): Promise<Lsn | null> {
    if (this.#next === null) {
      this.#next = this.#last.then(() => this.#read())
      this.#last = this.#next
    }
    return this.#next
  }

  async #read(): Promise<Lsn | null> {
    this.#next = null
    try {
      return await within(this.#control.position(), this.#timeoutMs)
    } catch {
      // The caller keeps its mark pending and asks again after the next reading of the policy.
      this.#counters.positionFailures++
      return null
    }
  }
}
