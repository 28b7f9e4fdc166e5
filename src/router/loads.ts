import type { RouterLoad } from './control.ts'

/**
 * What this instance has under way for each service. A write is counted in the same tick as the decision that lets it
 * go, so a report made after a policy was replaced counts every write that was decided under the old one.
 */
export class Loads {
  readonly #loads = new Map<string, { writes: number; legs: number; reads: number }>()
  readonly #onIdle: () => void
  readonly #waiting: (() => void)[] = []

  /** `onIdle` is called when a service's last write or leg has ended. */
  constructor(services: readonly string[], onIdle: () => void) {
    for (const service of services) this.#loads.set(service, { writes: 0, legs: 0, reads: 0 })
    this.#onIdle = onIdle
  }

  begin(service: string, what: 'writes' | 'legs' | 'reads'): void {
    this.#of(service)[what]++
  }

  end(service: string, what: 'writes' | 'legs' | 'reads'): void {
    const load = this.#of(service)
    load[what]--
    if (what === 'reads' || load.writes > 0 || load.legs > 0) return
    this.#onIdle()
    if (this.#idle) for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Resolves when no write and no leg is under way. */
  whenIdle(): Promise<void> {
    return this.#idle ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Reads that the service itself has under way. */
  reads(service: string): number {
    return this.#of(service).reads
  }

  report(held: (service: string) => number): Record<string, RouterLoad> {
    const entries = [...this.#loads].map(([service, { writes, legs }]): [string, RouterLoad] => [
      service,
      { writes, legs, held: held(service) },
    ])
    return Object.fromEntries(entries)
  }

  get #idle(): boolean {
    return [...this.#loads.values()].every(({ writes, legs }) => writes === 0 && legs === 0)
  }

  #of(service: string): { writes: number; legs: number; reads: number } {
    const load = this.#loads.get(service)
    if (load === undefined) throw new RangeError(`no service ${service}`)
    return load
  }
}
