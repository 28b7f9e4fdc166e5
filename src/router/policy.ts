import type { PolicySet, ServicePolicy, WriteAuthority } from '../model/policy.ts'
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
  /** start of the last attempt to read that has ended */
  #triedAt = Number.NEGATIVE_INFINITY
  /** the time from which `leftMs` of the holds counts */
  #leftAt = Number.NEGATIVE_INFINITY
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

  /**
   * This process was stopped for a while: nobody has waited for it, so what it knows may be long over. True until the
   * next reading, or the next attempt at one.
   */
  get slept(): boolean {
    const { clock, limits } = this.#options
    return clock.now() - this.#triedAt > limits.pollMs + 6 * limits.controlMs
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
    const startedAt = clock.now()
    try {
      const reading = await this.#inTime(control.readPolicy(), startedAt)
      this.#triedAt = startedAt
      counters.policyReads++
      const fault = faultOf(reading, this.#current)
      if (fault === null) return this.#swap(reading, startedAt)
      counters.policyRejected++
      log(`policy ${reading.version} not taken: ${fault}`)
    } catch (error) {
      counters.policyFailures++
      if (clock.now() - this.#readAt < limits.controlMs + limits.pollMs) {
        log(`control database cannot be read, going on with the last policy: ${(error as Error).message}`)
      }
      await this.#readAuthority(startedAt)
    }
  }

  /** Without the control database: who may write is still known, and the fence of a hold's run. */
  async #readAuthority(triedAt: number): Promise<void> {
    const { control, counters, clock, onReading } = this.#options
    const last = this.#current
    try {
      if (last === null || control.readAuthority === null) return
      const startedAt = clock.now()
      const reading = withAuthority(
        last,
        await this.#inTime(control.readAuthority(), startedAt),
        startedAt - this.#leftAt,
      )
      if (faultOf(reading, last) !== null) return
      for (const { service, authority } of reading.services.values()) {
        const before = last.services.get(service) as ServicePolicy
        // one epoch on and still the same side: given up and renewed, nobody has moved
        const same = authority.side === before.authority.side && authority.epoch <= before.authority.epoch + 1
        if (same && this.settled(before)) this.#settled.set(service, authority.epoch)
      }
      this.#current = reading
      this.#leftAt = startedAt
      this.#triedAt = triedAt
      onReading(reading)
    } catch {
      counters.authorityFailures++
    } finally {
      this.#triedAt = triedAt
    }
  }

  /** An answer that comes late says how it was; it would be taken for how it is. */
  async #inTime<T>(answer: Promise<T>, startedAt: number): Promise<T> {
    const { clock, limits } = this.#options
    const value = await within(answer, limits.controlMs)
    if (clock.now() - startedAt > limits.controlMs) throw new Error('this process was stopped meanwhile')
    return value
  }

  #swap(reading: PolicySet, startedAt: number): void {
    const { log, onReading } = this.#options
    const before = this.#current
    this.#current = reading
    this.#readAt = startedAt
    this.#leftAt = startedAt
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
    fenceRun: 0,
    hold: null,
    legs: false,
    halted: [],
    applied: null,
  }
}

/** The last policy with the authority as it is now, so many milliseconds later; no leg starts without its intent. */
function withAuthority(last: PolicySet, found: ReadonlyMap<string, WriteAuthority>, later: number): PolicySet {
  const services = [...last.services.values()].map((policy): [string, ServicePolicy] => {
    const hold = policy.hold === null ? null : { ...policy.hold, leftMs: policy.hold.leftMs - later }
    return [policy.service, { ...policy, ...found.get(policy.service), hold, legs: false }]
  })
  return { ...last, services: new Map(services) }
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
