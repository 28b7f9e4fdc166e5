import { MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { tryAll } from './attempts.ts'
import type { Context } from './context.ts'
import { describe, type Failed } from './dead-letter.ts'
import type { Item } from './decode.ts'
import { takeOut } from './inbox.ts'
import { countParkedKeys, keyText, type NewlyParked } from './parking.ts'

/** What is left to do after the messages that could be handled. */
export interface Outcome {
  readonly parked: readonly NewlyParked[]
  /** records that wait behind their keys, the first one of each included when it is tried again */
  readonly behind: readonly Item[]
  readonly letters: readonly Failed[]
}

/** Between two tries in place, milliseconds: other keys wait meanwhile. */
const INLINE_WAIT = 25
/** How long an outage may be looked for, milliseconds. */
const PROBE = 5_000

/**
 * Handles messages so that one that fails takes no other with it. In order; what comes after a key has failed waits
 * behind it. Throws CONSUMER_PAUSED when it is not the messages: many keys fail and none succeeds, too many are parked.
 */
export async function handleCarefully(
  tx: TransactionClient,
  context: Context,
  items: readonly Item[],
): Promise<Outcome> {
  const run = new CarefulRun(tx, context)
  await run.group(items)
  await run.finish()
  return run
}

class CarefulRun implements Outcome {
  readonly parked: NewlyParked[] = []
  readonly behind: Item[] = []
  readonly letters: Failed[] = []
  readonly #tx: TransactionClient
  readonly #context: Context
  readonly #waiting = new Set<string>()
  readonly #began = performance.now()
  #succeeded = 0

  constructor(tx: TransactionClient, context: Context) {
    this.#tx = tx
    this.#context = context
  }

  /** Together where the handler takes many, in halves when that fails. */
  async group(items: readonly Item[]): Promise<void> {
    const ready = items.filter((item) => !this.#behind(item))
    const together = this.#context.options.handleBatch !== undefined && ready.every(({ error }) => error === null)
    if (ready.length > 1 && together && (await tryAll(this.#tx, ready, this.#context.options)) === null) {
      this.#succeeded += ready.length
    } else if (ready.length > 1 && this.#context.options.handleBatch !== undefined) {
      const middle = ready.length >> 1
      await this.group(ready.slice(0, middle))
      await this.group(ready.slice(middle))
    } else {
      for (const item of ready) if (!this.#behind(item)) await this.#single(item)
    }
  }

  async finish(): Promise<void> {
    const { consumer, maxParkedKeys, outageKeys } = this.#context
    const retrying = this.parked.filter(({ state }) => state === 'retrying').length
    if (this.#succeeded === 0 && retrying >= outageKeys) this.#outage()
    if (retrying > 0) {
      const count = (await countParkedKeys(this.#tx, consumer)) + retrying
      if (count > maxParkedKeys) this.#pause(`${count} keys would be parked, at most ${maxParkedKeys} may be`)
    }
    await takeOut(this.#tx, consumer, this.behind)
  }

  #behind(item: Item): boolean {
    if (!this.#waiting.has(keyText(item))) return false
    if (!this.behind.includes(item)) this.behind.push(item)
    return true
  }

  async #single(item: Item): Promise<void> {
    const { inlineTries, classify, wait, blocks, tries } = this.#context
    for (let attempt = 1; ; attempt++) {
      const error = item.error ?? (await tryAll(this.#tx, [item], this.#context.options))
      if (error === null) {
        this.#succeeded += 1
        return
      }
      const verdict = classify(error)
      if (verdict === 'permanent' || attempt >= tries) return this.#giveUp({ item, error, attempts: attempt }, blocks)
      if (attempt >= inlineTries || this.#probing()) {
        this.#waiting.add(keyText(item))
        this.behind.push(item)
        const { fqcn } = describe(error)
        this.parked.push({ item, state: 'retrying', error: fqcn, attempts: attempt, milliseconds: wait(0) })
        return
      }
      await pause(INLINE_WAIT * attempt, NEVER)
    }
  }

  #giveUp(failed: Failed, blocks: boolean): void {
    this.letters.push(failed)
    if (!blocks) return
    const { item, error, attempts } = failed
    this.#waiting.add(keyText(item))
    this.parked.push({ item, state: 'blocked', error: describe(error).fqcn, attempts, milliseconds: 0 })
  }

  /** When much fails and nothing succeeds, the rest gets one try each, to see whether anything does. */
  #probing(): boolean {
    if (this.#succeeded > 0 || this.parked.length < this.#context.outageKeys) return false
    if (performance.now() - this.#began > PROBE) this.#outage()
    return true
  }

  #outage(): never {
    this.#pause(`${this.parked.length} keys failed and none succeeded, the last with ${this.parked.at(-1)?.error}`)
  }

  #pause(reason: string): never {
    throw new MigrateError('CONSUMER_PAUSED', { consumer: this.#context.consumer, reason })
  }
}

const NEVER = new AbortController().signal
