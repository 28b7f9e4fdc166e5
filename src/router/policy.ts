import type { PolicySet, ServicePolicy } from '../model/policy.ts'
import { isStage, STAGE_RULES } from '../model/stage.ts'
import type { RouterControl, RouterLoad } from './control.ts'
import type { Counters } from './counters.ts'
import type { Clock, RouterLimits } from './options.ts'
import { within } from '../model/within.ts'
import { writeTarget } from './write-target.ts'

export interface PolicyFeedOptions {
  readonly control: RouterControl
  readonly instance: string
  readonly clock: Clock
  readonly limits: Pick<RouterLimits, 'pollMs' | 'holdPollMs' | 'controlMs'>
  readonly counters: Counters
  readonly log: (line: string) => void
  /** what this instance has under way, for the report */
  readonly loads: () => Record<string, RouterLoad>
  /** writes are waiting for the next reading */
  readonly waiting: () => boolean
  /** called in the tick in which a reading has become the policy */
  readonly onReading: (policies: PolicySet) => void
}

/**
 * Keeps the last good policy: reads after each notification, polls besides (fast while writes are held), checks, swaps,
 * reports. One loop does it all, so readings never overtake each other and each report is made after the swap of the
 * version that it names.
 */
export class PolicyFeed {
  readonly #options: PolicyFeedOptions
  readonly #settled = new Map<string, number>()
  #current: PolicySet | null = null
  #readAt = Number.NEGATIVE_INFINITY
  #reportedAt = Number.NEGATIVE_INFINITY
  #reported: { version: number; loads: string } | null = null
  #again = false
  #stopped = false
  #wake: () => void = () => undefined
  #loop: Promise<void> | null = null

  constructor(options: PolicyFeedOptions) {
    this.#options = options
    options.control.onChange(() => this.hurry())
  }

  get current(): PolicySet | null {
    return this.#current
  }

  /** Milliseconds since the control database was last read; Infinity when it never was. */
  get age(): number {
    return this.#options.clock.now() - this.#readAt
  }

  /** The service's part of the policy; null until the control database was read once. */
  policyOf(service: string): ServicePolicy | null {
    if (this.#current === null) return null
    return this.#current.services.get(service) ?? neverStarted(service)
  }

  /** Since the service's authority has its present epoch, every live router was seen to obey the stage of it. */
  settled(policy: ServicePolicy): boolean {
    if (this.#settled.get(policy.service) === policy.authority.epoch) return true
    return this.#current?.services.has(policy.service) === false
  }

  /** Makes the first reading (or fails to), then goes on by itself until `stop`. */
  async start(): Promise<void> {
    await this.#read()
    this.#loop = this.#run()
  }

  /** Reads and reports as soon as possible. */
  hurry(): void {
    this.#again = true
    this.#wake()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake()
    await this.#loop
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#reportDue()) await this.#report()
      await this.#rest()
      if (!this.#stopped) await this.#read()
    }
  }

  async #read(): Promise<void> {
    const { control, counters, limits, clock, log } = this.#options
    this.#again = false
    try {
      const reading = await within(control.readPolicy(), limits.controlMs)
      counters.policyReads++
      const fault = faultOf(reading, this.#current)
      if (fault === null) return this.#swap(reading)
      counters.policyRejected++
      log(`policy ${reading.version} not taken: ${fault}`)
    } catch (error) {
      counters.policyFailures++
      if (clock.now() - this.#readAt < limits.controlMs + limits.pollMs) {
        log(`control database cannot be read, going on with the last policy: ${(error as Error).message}`)
      }
    }
  }

  #swap(reading: PolicySet): void {
    const { clock, log, onReading } = this.#options
    const before = this.#current
    this.#current = reading
    this.#readAt = clock.now()
    for (const policy of reading.services.values()) {
      // Not seen before and with the monolith: no switch that another router could lag behind.
      const untouched = before?.services.get(policy.service) === undefined && policy.authority.side === 'monolith'
      const obeyed = reading.laggards === 0 && STAGE_RULES[policy.stage].authority === policy.authority.side
      if (untouched || obeyed) this.#settled.set(policy.service, policy.authority.epoch)
    }
    if (before?.version !== reading.version) log(`policy ${reading.version}`)
    onReading(reading)
  }

  #reportDue(): boolean {
    if (this.#current === null) return false
    if (this.#reported?.version !== this.#current.version) return true
    if (this.#options.clock.now() - this.#reportedAt >= this.#options.limits.pollMs) return true
    return this.#holding() && this.#reported.loads !== JSON.stringify(this.#options.loads())
  }

  async #report(): Promise<void> {
    const { control, instance, loads, limits, counters, clock } = this.#options
    const version = (this.#current as PolicySet).version
    const services = loads()
    try {
      await within(control.report({ instance, version, services }), limits.controlMs)
      counters.reports++
      // Our own report may be what the held writes wait for.
      if (this.#reported?.version !== version && this.#holding()) this.#again = true
      this.#reported = { version, loads: JSON.stringify(services) }
      this.#reportedAt = clock.now()
    } catch {
      // The next round reports again; on the server's clock the lease of this instance goes on running out.
      counters.reportFailures++
    }
  }

  /** Some service holds its writes, or some write waits. */
  #holding(): boolean {
    if (this.#options.waiting()) return true
    const policies = [...(this.#current?.services.values() ?? [])]
    return policies.some((policy) => writeTarget(policy, this.settled(policy)).to === 'hold')
  }

  #rest(): Promise<void> {
    if (this.#again || this.#stopped) return Promise.resolve()
    const { limits } = this.#options
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#holding() ? limits.holdPollMs : limits.pollMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** A service that the control database does not know is still all the monolith's. */
function neverStarted(service: string): ServicePolicy {
  return {
    service,
    stage: 'off',
    percent: 0,
    version: 0,
    authority: { side: 'monolith', epoch: 0 },
    fence: 'open',
    hold: null,
    legs: false,
    halted: [],
    applied: null,
  }
}

/** Why a reading must not become the policy; null = it may. */
function faultOf(reading: PolicySet, before: PolicySet | null): string | null {
  for (const policy of reading.services.values()) {
    if (!isStage(policy.stage)) return `${policy.service} has an unknown stage`
    if (!(policy.percent >= 0 && policy.percent <= 100)) return `${policy.service} has an impossible percentage`
    const seen = before?.services.get(policy.service)
    // A standby that was promoted without the last switch must not take the authority back.
    if (seen !== undefined && policy.authority.epoch < seen.authority.epoch) return `${policy.service} has an old epoch`
  }
  return null
}
