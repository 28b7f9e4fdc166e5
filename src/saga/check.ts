import { MigrateError } from '../errors.ts'
import { type AnySaga, type Group, placed, type Step } from './definition.ts'

const NAME = /^[A-Za-z][\w.-]{0,99}$/

/** Throws SAGA_DEFINITION_INVALID for a saga that could not be carried out, or not be taken back. */
export function check(definition: AnySaga): void {
  const { name, version, groups, deadline } = definition
  const reason =
    badName('the name of the saga', name) ??
    (Number.isInteger(version) && version > 0 ? null : 'versions are 1, 2, 3 …') ??
    (groups.length > 0 ? null : 'it has no steps') ??
    badTime('the deadline', deadline) ??
    badSteps(definition) ??
    badOrder(groups)
  if (reason !== null) throw new MigrateError('SAGA_DEFINITION_INVALID', { saga: String(name), reason })
}

function badName(what: string, name: unknown): string | null {
  if (typeof name === 'string' && NAME.test(name)) return null
  return `${what} begins with a letter and has letters, digits, ".", "-" and "_", at most 100`
}

function badTime(what: string, milliseconds: number | null | undefined): string | null {
  if (milliseconds === null || milliseconds === undefined) return null
  // more would overflow the timers of Node
  if (Number.isInteger(milliseconds) && milliseconds > 0 && milliseconds < 2 ** 31) return null
  return `${what} is a number of milliseconds, at most 24 days`
}

function badSteps(definition: AnySaga): string | null {
  const seen = new Set<string>()
  for (const { step } of placed(definition)) {
    const reason = badStep(step, definition)
    if (reason !== null) return reason
    if (seen.has(step.name)) return `two steps are called ${step.name}`
    seen.add(step.name)
  }
  return null
}

function badStep(step: Step, { replyTo }: AnySaga): string | null {
  const { name, kind, action, timeout, deadline, retry, compensationRetry } = step
  const bad =
    badName('the name of a step', name) ??
    badTime(`the timeout of ${name}`, timeout) ??
    badTime(`the deadline of ${name}`, deadline)
  if (bad !== null) return bad
  for (const { attempts = 1, first = 0, longest = 0 } of [retry ?? {}, compensationRetry ?? {}]) {
    if (!(Number.isInteger(attempts) && attempts > 0)) return `${name} is tried once at least`
    if (!(first >= 0 && longest >= 0 && first < 2 ** 31 && longest < 2 ** 31))
      return `what ${name} waits between two tries is a number of milliseconds, at most 24 days`
  }
  const compensate: unknown = action.compensate
  if (kind === 'compensable' && compensate === undefined) {
    return `${name} is compensable, so it needs "compensate", which is null when there is nothing to take back`
  }
  if (kind !== 'compensable' && compensate !== null) return `${name} is ${kind}, so it cannot have "compensate"`
  if (action.by === 'command' && replyTo === null) return `${name} is a command, so the saga needs "replyTo"`
  return null
}

/** compensable* pivot? retriable* */
function badOrder(groups: readonly Group[]): string | null {
  let phase = 0
  const phases = { compensable: 0, pivot: 1, retriable: 2 } as const
  for (const { steps, concurrency } of groups) {
    if (steps.length === 0) return 'a parallel group has no steps'
    if (!(concurrency >= 1)) return 'a parallel group runs one step at a time at least'
    const kinds = new Set(steps.map(({ kind }) => kind))
    const [first] = steps as [Step]
    if (kinds.size > 1 || (kinds.has('pivot') && steps.length > 1)) {
      return `the parallel group of ${first.name} crosses the pivot: its steps are all compensable, or all retriable`
    }
    if (phases[first.kind] < phase)
      return `${first.name} is ${first.kind}, and comes after a step that cannot be taken back`
    if (first.kind === 'pivot' && phase === 1) return `${first.name} is a second pivot`
    phase = phases[first.kind]
  }
  return null
}
