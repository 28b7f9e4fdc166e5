import { MigrateError } from '../errors.ts'
import { UUID } from '../events/encode.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { jsonOf } from './call.ts'
import { decide } from './decide.ts'
import { type AnySaga, placed, type SagaDefinition } from './definition.ts'
import type { Entry } from './entry.ts'
import type { Claimed } from './journal.ts'
import { stateOf } from './state.ts'

/** A saga to be started. */
export interface Launch {
  readonly id: string
  readonly definition: AnySaga
  /** JSON */
  readonly input: string
  readonly traceparent: string | null
  /** a worker of this process; null = any */
  readonly owner: string | null
  /** first entries of the journal */
  readonly entries: readonly Entry[] | null
  readonly locks: readonly string[]
}

export interface Launched {
  readonly outcome: 'started' | 'waiting' | 'exists'
  /** its owner has it */
  readonly owned: boolean
  /** when, milliseconds of the database */
  readonly at: number
}

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

interface LaunchOptions {
  readonly id: string
  readonly traceparent: string | null
  readonly owner: string | null
  /** results of steps that are done with the start; only without an owner, which takes the first entries for its own */
  readonly done?: Readonly<Record<string, unknown>> | undefined
}

/** Throws SAGA_INPUT_INVALID. */
export async function launchOf<Input>(
  definition: SagaDefinition<Input>,
  input: Input,
  { id, traceparent, owner, done = {} }: LaunchOptions,
): Promise<Launch> {
  const invalid = (reason: string, cause?: unknown) =>
    new MigrateError('SAGA_INPUT_INVALID', { saga: definition.name, reason }, { cause })
  const lower = id.toLowerCase()
  if (!UUID.test(lower)) throw invalid('its id is no UUID')
  if (traceparent !== null && !TRACEPARENT.test(traceparent)) throw invalid('traceparent is no W3C trace context')
  const checked = await definition.input?.['~standard'].validate(input)
  if (checked?.issues !== undefined) throw invalid(checked.issues.map(({ message }) => message).join('; '))
  const text = encode(checked === undefined ? input : checked.value, invalid)
  // the steps get what was stored, in this try as in a later one
  const locks = [...new Set(definition.locks?.(JSON.parse(text) as Input) ?? [])].toSorted()
  return {
    id: lower,
    definition,
    input: text,
    traceparent,
    owner,
    entries: doneEntries(definition, done, invalid) ?? firstEntries(definition, locks, owner),
    locks,
  }
}

/** What the caller has done in the transaction of the start is taken back like all that is done. */
function doneEntries(
  definition: AnySaga,
  done: Readonly<Record<string, unknown>>,
  invalid: (reason: string) => MigrateError,
): Entry[] | null {
  const entries = Object.entries(done).map(([step, given]): Entry => {
    const kind = placed(definition).find((each) => each.step.name === step)?.step.kind
    if (kind !== 'compensable') throw invalid(`it has no compensable step ${step} that could be done already`)
    const result = given === undefined ? undefined : (JSON.parse(encode(given, invalid)) as unknown)
    return { do: 'done', step, direction: 'execute', ...(result !== undefined && { result }) }
  })
  return entries.length === 0 ? null : entries
}

function encode(input: unknown, invalid: (reason: string, cause?: unknown) => MigrateError): string {
  try {
    return jsonOf(input ?? null, 'it')
  } catch (cause) {
    throw invalid((cause as TypeError).message, cause)
  }
}

/** The first calls are noted together with the start, when they can be made at once. */
function firstEntries(definition: AnySaga, locks: readonly string[], owner: string | null): Entry[] | null {
  if (owner === null || locks.length > 0) return null
  const first = decide(definition, stateOf([]), { now: 0, deadline: null, underWay: new Set() })
  if (first.do !== 'ask' || first.steps.some(({ action }) => action.by !== 'call')) return null
  return first.steps.map(({ name }) => ({ do: 'intent', step: name, direction: 'execute' }))
}

/** One statement. Throws what the database says; SAGA_EXISTS is the result of a single one. */
export async function launchSagas(
  client: TransactionClient,
  launches: readonly Launch[],
): Promise<(Launched | Error)[]> {
  const locks = launches.flatMap(({ locks: targets }, i) => targets.map((target) => ({ target, of: i + 1 })))
  const { rows } = await client.query(
    `select outcome, owned, at from eventing.saga_start($1::uuid[], $2::text[], $3::int[], $4::jsonb[], $5::text[],
       $6::float8[], $7::bigint[], $8::text[], $9::jsonb[], $10::int[], $11::text[]) order by ordinal`,
    [
      launches.map(({ id }) => id),
      launches.map(({ definition }) => definition.name),
      launches.map(({ definition }) => definition.version),
      launches.map(({ input }) => input),
      launches.map(({ traceparent }) => traceparent),
      launches.map(({ definition }) => definition.deadline),
      launches.map(({ owner }) => owner),
      launches.map(({ definition }) => definition.groups[0]?.steps[0]?.name),
      launches.map(({ entries }) => (entries === null ? null : JSON.stringify(entries))),
      locks.map(({ of }) => of),
      locks.map(({ target }) => target),
    ],
  )
  const results: (Launched | Error)[] = rows as Launched[]
  for (const [i, launch] of launches.entries()) {
    if ((rows[i] as Launched).outcome !== 'exists') continue
    const difference = await differenceTo(client, launch)
    if (difference !== null) results[i] = new MigrateError('SAGA_EXISTS', { saga: launch.id, difference })
  }
  return results
}

/** Between a saga that exists and one that was to be started under the same id. */
async function differenceTo(client: TransactionClient, { id, definition, input }: Launch): Promise<string | null> {
  const { rows } = await client.query(`select name, input = $2::jsonb as same from eventing.saga where id = $1`, [
    id,
    input,
  ])
  const found = rows[0] as { name: string; same: boolean } | undefined
  if (found !== undefined && found.name !== definition.name) return 'the name'
  return found?.same === false ? 'the input' : null
}

/** What the worker that owns it begins with. */
export function claimedFrom({ id, definition, input, traceparent, entries }: Launch, at: number): Claimed {
  const { name, version, deadline } = definition
  const rows = entries === null ? [] : [{ seq: 1, at, entries }]
  return {
    ...{ id, name, version, traceparent, rows, epoch: '0', seq: rows.length, deaths: 0, now: at },
    input: JSON.parse(input) as unknown,
    deadline: deadline === null ? null : at + deadline,
  }
}
