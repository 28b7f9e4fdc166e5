import { asMigrateError } from '../errors.ts'
import { retry } from '../retry.ts'
import type { AlertOptions } from './alerts.ts'
import type { Message } from './message.ts'
import { deliver, type Target, targetName } from './target.ts'

const TIMEOUT_MS = 5_000
const TRIES = 6
/** Messages that wait for one target; the oldest goes when there are more. */
const WAITING = 100

interface Letter {
  readonly message: Message
  /** called at most once, by the first target that takes it */
  taken: (() => void) | null
}

interface Lane {
  readonly target: Target
  readonly waiting: Letter[]
  running: Promise<void> | null
}

/** Carries messages to every target, each at its own pace and in order, and tries again what may pass. */
export class Courier {
  readonly #options: Omit<AlertOptions, 'memory' | 'project'> & { readonly signal: AbortSignal }
  readonly #lanes: readonly Lane[]

  constructor(options: Omit<AlertOptions, 'memory' | 'project'> & { readonly signal: AbortSignal }) {
    this.#options = options
    this.#lanes = options.targets.map((target) => ({ target, waiting: [], running: null }))
  }

  /** `taken` is called when the first target has it. */
  send(message: Message, taken: () => void): void {
    const letter: Letter = { message, taken }
    for (const lane of this.#lanes) {
      lane.waiting.push(letter)
      if (lane.waiting.length > WAITING) {
        lane.waiting.shift()
        this.#options.log(`alert: ${targetName(lane.target)} is too far behind, its oldest message was dropped`)
      }
      lane.running ??= this.#run(lane)
    }
  }

  async idle(): Promise<void> {
    for (const lane of this.#lanes) await lane.running
  }

  async #run(lane: Lane): Promise<void> {
    const { signal } = this.#options
    for (let letter = lane.waiting.shift(); letter !== undefined && !signal.aborted; letter = lane.waiting.shift()) {
      await this.#carry(lane.target, letter)
    }
    lane.running = null
  }

  async #carry(target: Target, letter: Letter): Promise<void> {
    const { env, signal, log, timeout = TIMEOUT_MS, first = 1_000 } = this.#options
    try {
      await retry(() => deliver(target, letter.message, { timeout, env, signal }), {
        ...{ signal, first, slowest: 30_000, tries: TRIES },
      })
      letter.taken?.()
      letter.taken = null
    } catch (error) {
      if (signal.aborted) return
      const { name, service } = letter.message
      log(`alert ${name} of ${service}: ${asMigrateError(error).message}`)
    }
  }
}
