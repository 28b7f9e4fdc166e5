import type { StoredLetter } from '../control/dead-letters.ts'
import { asMigrateError, MigrateError } from '../errors.ts'
import {
  type ConsumerLetter,
  consumerService,
  consumerServices,
  listConsumerLetters,
  type ShownKey,
} from './consumer-letters.ts'
import { listDeadLetters } from './dead-letters.ts'
import type { App } from './open.ts'

export type LetterKind = 'sync' | 'dual-write' | 'consumer'

export interface ListedLetters {
  readonly letters: readonly (StoredLetter | ConsumerLetter)[]
  readonly parkedKeys: readonly ShownKey[]
  /** of databases that could not be asked */
  readonly failures: readonly MigrateError[]
}

export interface ListWanted {
  /** null = all */
  readonly kind: LetterKind | null
  /** null = of all services */
  readonly service: string | null
  /** also those that are resolved or discarded */
  readonly settled: boolean
}

/**
 * Dead letters of one kind or all, at most 1,000 of each kind and service. Of all kinds, what a database that does not
 * answer would have is left out, and said. Throws SERVICE_UNKNOWN, EVENTING_MISSING, DATABASE_*.
 */
export async function listAllLetters(app: App, wanted: ListWanted): Promise<ListedLetters> {
  const { kind } = wanted
  if (kind === 'sync') return NONE
  if (kind === 'dual-write') return await secondLegs(app, wanted)
  const consumers = await consumerLetters(app, wanted)
  if (kind === 'consumer') return consumers
  const legs = await secondLegs(app, wanted).catch(failureOf)
  return {
    letters: [...legs.letters, ...consumers.letters],
    parkedKeys: consumers.parkedKeys,
    failures: [...legs.failures, ...consumers.failures],
  }
}

/**
 * A number without a kind means a second leg, where no service that may be meant has consumers.
 * Throws SERVICE_UNKNOWN and DEAD_LETTER_KIND.
 */
export async function requireNoConsumers(app: App, service: string | null): Promise<void> {
  const { services, failures } = await consumerServices(app, service)
  const possible = [...services, ...failures.map((failure) => failure.service)]
  if (possible.length > 0) throw new MigrateError('DEAD_LETTER_KIND', { services: possible.join(', ') })
}

const NONE: ListedLetters = { letters: [], parkedKeys: [], failures: [] }

async function secondLegs(app: App, { service, settled }: ListWanted): Promise<ListedLetters> {
  const states = settled ? (['open', 'resolved', 'discarded'] as const) : (['open'] as const)
  return { ...NONE, letters: await listDeadLetters(app, service, states) }
}

async function consumerLetters(app: App, { kind, service, settled }: ListWanted): Promise<ListedLetters> {
  // a service that is named has them, or that is an error
  if (kind === 'consumer' && service !== null) await consumerService(app, service)
  const { services, failures } = await consumerServices(app, service)
  const found = await Promise.all(services.map((name) => listed(app, name, settled).catch(failureOf)))
  return {
    letters: found.flatMap(({ letters }) => letters),
    parkedKeys: found.flatMap(({ parkedKeys }) => parkedKeys),
    failures: [...failures.map(({ error }) => error), ...found.flatMap((each) => each.failures)],
  }
}

async function listed(app: App, service: string, settled: boolean): Promise<ListedLetters> {
  return { ...NONE, ...(await listConsumerLetters(app, service, settled)) }
}

function failureOf(thrown: unknown): ListedLetters {
  const error = asMigrateError(thrown)
  if (!error.code.startsWith('DATABASE_')) throw error
  return { ...NONE, failures: [error] }
}
