import { pause } from '../model/pause.ts'
import { type Outcome, tryCall } from './call.ts'
import { commandOf, contextOf } from './context.ts'
import { type Decision, endOfTry } from './decide.ts'
import { type AnySaga, placed, type Step } from './definition.ts'
import { type Direction, type Entry, type Fault, faultOf, readable } from './entry.ts'
import type { Claimed, Move, SentCommand } from './journal.ts'
import { runLocal } from './local.ts'
import { retryIn } from './policy.ts'
import { type Engine, SagaRecord } from './record.ts'
import { type SagaState, stepOf } from './state.ts'

/** How a stint of a saga ended: it ended, it is stuck, it waits for something, or it is somebody else's. */
export type Stint = { readonly end: 'ended' | 'stuck'; readonly state: SagaState } | { readonly end: 'waits' | 'lost' }

/** So often may a worker die while it has a saga before nobody tries any more. */
const DEATHS = 20

type Ask = Extract<Decision, { do: 'ask' }>

/** Moves one saga on until it ends or waits, as the only one in this process. */
export class Driver {
  readonly #engine: Engine
  readonly #record: SagaRecord
  /** calls, until what became of them is taken into the record */
  readonly #underWay = new Map<string, Promise<void>>()
  #arrived: { readonly step: Step; readonly direction: Direction; readonly outcome: Outcome }[] = []
  readonly #gone = new AbortController()

  constructor(engine: Engine, definition: AnySaga, saga: Claimed) {
    this.#engine = engine
    this.#record = new SagaRecord(engine, definition, saga)
  }

  /** `fresh`: nothing was asked for yet of what is noted. Rejects with errors of the database that do not pass. */
  async run(fresh: boolean): Promise<Stint> {
    const { deaths } = this.#record.saga
    try {
      if (fresh) this.#launchNoted()
      if (deaths >= DEATHS && this.#record.state.status !== 'STUCK')
        this.#record.add(tooManyDeaths(deaths, this.#record.state))
      for (;;) {
        const stint = await this.#step()
        if (stint !== null) return stint
      }
    } finally {
      this.#gone.abort(new Error('the saga has gone to another process'))
    }
  }

  /** One decision. Null: there is another one to make. */
  async #step(): Promise<Stint | null> {
    this.#takeIn()
    await this.#record.checkReplies()
    const decision = this.#record.next(new Set(this.#underWay.keys()))
    switch (decision.do) {
      case 'compensate':
      case 'stuck':
        this.#record.add(decision)
        return null
      case 'doubt': {
        const { step, direction, error } = decision
        this.#record.add(this.#unknown(step, direction, error, null))
        return null
      }
      case 'end':
        this.#record.add({ do: 'ended', status: decision.status })
        return this.#giveBack({ waiting: null, due: null }, 'ended')
      case 'wait':
        return this.#wait(decision)
      case 'ask':
        return this.#ask(decision)
    }
  }

  #takeIn(): void {
    for (const { step, direction, outcome } of this.#arrived) {
      this.#underWay.delete(step.name)
      const known = 'entry' in outcome
      this.#record.add(known ? outcome.entry : this.#unknown(step, direction, outcome.fault, outcome.unknown))
    }
    this.#arrived = []
  }

  async #wait({ until, for: reason }: Extract<Decision, { do: 'wait' }>): Promise<Stint | null> {
    const record = this.#record
    const underWay = this.#underWay
    if (underWay.size > 0) {
      // what others of the group have given is kept before the slowest is waited for
      if (!record.isClean && (await record.commit(null)) === 'lost') return { end: 'lost' }
      if (this.#arrived.length > 0) return null
      const waiting = new AbortController()
      const time = until === null ? [] : [pause(Math.max(0, until - record.now), waiting.signal).catch(() => undefined)]
      await Promise.race([...underWay.values(), ...time])
      waiting.abort()
      return null
    }
    if (record.state.status === 'STUCK') return this.#giveBack({ waiting: null, due: null }, 'stuck')
    return this.#giveBack({ waiting: reason, due: this.#milliseconds(until) }, 'waits')
  }

  #milliseconds(until: number | null): number | null {
    return until === null ? null : Math.max(0, until - this.#record.now)
  }

  async #giveBack(release: NonNullable<Move['release']>, end: 'ended' | 'stuck' | 'waits'): Promise<Stint | null> {
    const written = await this.#record.commit(release)
    if (written !== 'done') return written === 'lost' ? { end: 'lost' } : null
    if (release.due !== null) this.#engine.due(release.due)
    return end === 'waits' ? { end } : { end, state: this.#record.state }
  }

  async #ask({ steps, direction }: Ask): Promise<Stint | null> {
    if (this.#engine.draining.aborted) {
      if (this.#underWay.size === 0) return this.#giveBack({ waiting: null, due: 0 }, 'waits')
      await Promise.race(this.#underWay.values())
      return null
    }
    const local = steps.find(({ action }) => action.by === 'local')
    const remote = steps.filter(({ action }) => action.by !== 'local')
    if (remote.length === 0 && local !== undefined) return this.#local(local, direction)
    const { sent, calls } = this.#intend(remote, direction)
    const release = calls.length === 0 && this.#underWay.size === 0 ? this.#untilReply() : null
    const written = await this.#record.commit(release, sent)
    if (written !== 'done') return written === 'lost' ? { end: 'lost' } : null
    if (release !== null) {
      if (release.due !== null) this.#engine.due(release.due)
      return { end: 'waits' }
    }
    for (const step of calls) this.#launch(step, direction)
    return null
  }

  /** Notes that these steps are asked for. Returns the messages for some, and those that are to be called. */
  #intend(steps: readonly Step[], direction: Direction): { sent: SentCommand[]; calls: Step[] } {
    const sent: SentCommand[] = []
    const calls: Step[] = []
    for (const step of steps) {
      try {
        if (step.action.by === 'command') sent.push(commandOf(this.#record, step, direction, this.#gone.signal))
        else calls.push(step)
        this.#record.add({ do: 'intent', step: step.name, direction })
      } catch (error) {
        // a defect of the definition: nothing was sent
        this.#record.add(this.#failed(step, direction, error))
      }
    }
    return { sent, calls }
  }

  /** A saga that only waits, for replies, keeps nobody busy. Null: there is something else to do. */
  #untilReply(): NonNullable<Move['release']> | null {
    const next = this.#record.next(new Set())
    return next.do === 'wait' ? { waiting: next.for, due: this.#milliseconds(next.until) } : null
  }

  #launchNoted(): void {
    const { definition, state } = this.#record
    for (const { step } of placed(definition)) {
      if (stepOf(state, step.name).execute.state === 'intent') this.#launch(step, 'execute')
    }
  }

  #launch(step: Step, direction: Direction): void {
    const running = this.#call(step, direction).then((outcome) => {
      this.#arrived.push({ step, direction, outcome })
    })
    this.#underWay.set(step.name, running)
  }

  async #call(step: Step, direction: Direction): Promise<Outcome> {
    const { failpoint } = this.#engine
    const context = contextOf(this.#record, step, direction, this.#gone.signal)
    const { probing } = stepOf(this.#record.state, step.name)[direction]
    await failpoint?.(`saga.call-${direction}-${step.name}`)
    const action = step.action as Extract<Step['action'], { by: 'call' }>
    const outcome = await tryCall(action, context, { timeout: this.#timeout(step, direction), probing })
    await failpoint?.(`saga.called-${direction}-${step.name}`)
    return outcome
  }

  /** A call does not last beyond the deadline of its step, nor of the saga while that counts. */
  #timeout(step: Step, direction: Direction): number {
    const { saga, state, now } = this.#record
    const end = endOfTry(step, direction, stepOf(state, step.name)[direction])
    const counts = saga.deadline !== null && direction === 'execute' && step.kind === 'compensable'
    return Math.max(1, Math.ceil((counts ? Math.min(end, saga.deadline) : end) - now))
  }

  /** `error` null: this process was not there. */
  #unknown(step: Step, direction: Direction, fault: Fault, error: Error | null): Entry {
    const { state, now } = this.#record
    const progress = stepOf(state, step.name)[direction]
    if (progress.probing) {
      const { code, message } = progress.error ?? fault
      const found = { code, message: readable(`${message}; asked what became of it: ${fault.message}`) }
      return { do: 'unknown', step: step.name, direction, error: found, retryIn: null }
    }
    const wait = retryIn(step, direction, progress, { now, error })
    const probe = wait === null && direction === 'execute' && step.action.by === 'call' && step.action.probe !== null
    if (probe) return { do: 'unknown', step: step.name, direction, error: fault, retryIn: 0, probe }
    // whoever was interrupted has waited long enough
    const again = error === null && wait !== null ? 0 : wait
    return { do: 'unknown', step: step.name, direction, error: fault, retryIn: again }
  }

  #failed(step: Step, direction: Direction, error: unknown): Entry {
    const { state, now } = this.#record
    const before = stepOf(state, step.name)[direction]
    const progress = { ...before, attempts: before.attempts + 1, since: before.since || now }
    const wait = retryIn(step, direction, progress, { now, error })
    return { do: 'failed', step: step.name, direction, error: faultOf(error), retryIn: wait }
  }

  async #local(step: Step, direction: Direction): Promise<Stint | null> {
    const record = this.#record
    if (!record.isClean) {
      // what others have done is kept first: this step may fail
      const written = await record.commit(null)
      return written === 'lost' ? { end: 'lost' } : null
    }
    const { pool, failpoint, ttl } = this.#engine
    const before = record.state
    const context = contextOf(record, step, direction, this.#gone.signal)
    let calls: readonly Step[] = []
    const outcome = await runLocal(pool, { saga: record.saga, step, context, failpoint, idle: ttl }, (entry) => {
      record.add(entry)
      calls = this.#following()
      return record.move(null, [])
    })
    if (outcome.do === 'committed') {
      record.committed(outcome.moved)
      for (const each of calls) this.#launch(each, directionOf(each, record.state))
      return null
    }
    record.undo(before)
    if (outcome.do === 'failed') record.add(outcome.refused ?? this.#failed(step, direction, outcome.error))
    // it is not as it was seen, or the answer to the commit was lost
    else if (!(await record.reload())) return { end: 'lost' }
    return null
  }

  /** Calls that come next are noted in the same transaction. */
  #following(): readonly Step[] {
    if (this.#engine.draining.aborted || this.#underWay.size > 0) return []
    const next = this.#record.next(new Set())
    if (next.do !== 'ask' || next.steps.some(({ action }) => action.by !== 'call')) return []
    return this.#intend(next.steps, next.direction).calls
  }
}

function directionOf({ name }: Step, state: SagaState): Direction {
  return stepOf(state, name).compensate.state === 'intent' ? 'compensate' : 'execute'
}

function tooManyDeaths(deaths: number, { status }: SagaState): Entry {
  const message = `its process has died ${deaths} times while it ran`
  const direction = status === 'COMPENSATING' ? 'compensate' : 'execute'
  return { do: 'stuck', failure: { step: null, code: 'DEATHS', message }, direction }
}
