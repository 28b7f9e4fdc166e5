import { serviceOf } from '../config/service.ts'
import { discardLetters, retryLetters } from '../consumer/settle-letters.ts'
import {
  EVERY,
  type LetterRow,
  type LetterState,
  listLetters,
  listWaitingKeys,
  readLetters,
  UNSETTLED,
  type WaitingKey,
  type WholeLetter,
} from '../consumer/read-letters.ts'
import { MigrateError } from '../errors.ts'
import type { Database } from '../model/sql.ts'
import type { App } from './open.ts'

/** More are not listed at once, of a service. */
const MOST = 1_000
/** Letters that are settled in one transaction. */
const TOGETHER = 100
/** Letters whose bytes are in memory at a time. */
const PAGE = 20

/** A dead letter of a consumer as `migrate dlq` shows it; the key as text. */
export interface ConsumerLetter extends Omit<LetterRow, 'key'> {
  readonly kind: 'consumer'
  readonly service: string
  readonly key: string | null
}

/** A key whose records wait, as `migrate dlq list` shows it. */
export interface ShownKey extends Omit<WaitingKey, 'orderKey'> {
  readonly service: string
  readonly key: string
}

/** Which services have consumers, and those that could not be asked. */
export interface ConsumerServices {
  readonly services: readonly string[]
  readonly failures: readonly { readonly service: string; readonly error: MigrateError }[]
}

/** Of all services, or of one. Throws SERVICE_UNKNOWN. */
export async function consumerServices(app: App, service: string | null): Promise<ConsumerServices> {
  if (service !== null) serviceOf(app.config, service)
  const names = service === null ? Object.keys(app.config.services) : [service]
  const answers = await Promise.all(names.map(async (name) => [name, await hasConsumers(app.service(name))] as const))
  return {
    services: answers.flatMap(([name, answer]) => (answer === true ? [name] : [])),
    failures: answers.flatMap(([name, error]) => (typeof error === 'boolean' ? [] : [{ service: name, error }])),
  }
}

/**
 * The service whose letters are meant; null = the only one that has consumers. Throws SERVICE_UNKNOWN, EVENTING_MISSING,
 * DEAD_LETTER_SERVICE, DATABASE_*.
 */
export async function consumerService(app: App, service: string | null): Promise<string> {
  const { services, failures } = await consumerServices(app, service)
  const [first, ...others] = [...services, ...failures.map((failure) => failure.service)]
  if (first === undefined) {
    throw new MigrateError('EVENTING_MISSING', { service: service ?? Object.keys(app.config.services).join(', ') })
  }
  if (others.length > 0) throw new MigrateError('DEAD_LETTER_SERVICE', { services: [first, ...others].join(', ') })
  if (failures[0] !== undefined) throw failures[0].error
  return first
}

/** Letters that are open or under way (`settled`: all of them) and the keys that wait, at most 1,000 of each. */
export async function listConsumerLetters(app: App, service: string, settled: boolean) {
  const database = app.service(service)
  const [letters, keys] = [
    await listLetters(database, { states: settled ? EVERY : UNSETTLED, limit: MOST }),
    await listWaitingKeys(database, MOST),
  ]
  return { letters: letters.map((row) => shown(service, row)), parkedKeys: keys.map((key) => shownKey(service, key)) }
}

/** One letter with everything in it. Throws DEAD_LETTER_UNKNOWN. */
export async function showConsumerLetter(
  app: App,
  service: string,
  id: string,
): Promise<{ letter: ConsumerLetter; whole: WholeLetter }> {
  const [whole] = await readLetters(app.service(service), { states: EVERY, ids: [id], limit: 1 })
  if (whole === undefined) throw new MigrateError('DEAD_LETTER_UNKNOWN', { id })
  return { letter: shown(service, whole), whole }
}

/**
 * The letters of the service that are meant, in the order in which they came; no ids = all in these states.
 * Throws DEAD_LETTER_UNKNOWN and DEAD_LETTER_CLOSED.
 */
export async function chooseConsumerLetters(
  app: App,
  service: string,
  { ids, states }: { readonly ids: readonly string[]; readonly states: readonly LetterState[] },
): Promise<ConsumerLetter[]> {
  const wanted = { ids: ids.length === 0 ? null : ids, states: ids.length === 0 ? states : EVERY, limit: ALL }
  const letters = await listLetters(app.service(service), wanted)
  for (const id of ids) {
    const letter = letters.find((each) => each.id === id)
    if (letter === undefined) throw new MigrateError('DEAD_LETTER_UNKNOWN', { id })
    const { state } = letter
    if (!states.includes(state)) throw new MigrateError('DEAD_LETTER_CLOSED', { id, state })
  }
  return letters.map((row) => shown(service, row))
}

/** Puts letters back at the head of their keys' queues. Returns the ids of those that were still open. */
export function retryConsumerLetters(app: App, service: string, ids: readonly string[], who: string) {
  return settle(app.service(service), retryLetters, { ids, who })
}

/** Closes letters unhandled, and lets their keys go on. Returns the ids of those that nobody had settled. */
export function discardConsumerLetters(app: App, service: string, ids: readonly string[], who: string) {
  return settle(app.service(service), discardLetters, { ids, who })
}

/** A letter as it is exported; bytes in base64. */
export interface ExportedLetter extends Omit<ConsumerLetter, 'key'> {
  readonly key: string | null
  readonly value: string | null
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly message: string
  readonly stack: string
  /** of the record, milliseconds since 1970 */
  readonly time: number
}

/** The letters of the service that were chosen, a few at a time. */
export async function* exportConsumerLetters(
  app: App,
  service: string,
  letters: readonly ConsumerLetter[],
): AsyncGenerator<ExportedLetter, void, undefined> {
  for (let at = 0; at < letters.length; at += PAGE) {
    const ids = letters.slice(at, at + PAGE).map(({ id }) => id)
    for (const whole of await readLetters(app.service(service), { states: EVERY, ids, limit: PAGE })) {
      const { key, value, headers, message, stack, time } = whole
      const bytes = { key: key?.toString('base64') ?? null, value: value?.toString('base64') ?? null }
      yield { ...shown(service, whole), ...bytes, headers, message, stack, time: Number(time) }
    }
  }
}

const ALL = 2 ** 31

async function hasConsumers(database: Database): Promise<boolean | MigrateError> {
  try {
    // by the catalogue: a role without rights on the schema is told so by what comes next
    const { rows } = await database.query<{ there: boolean }>(
      `select exists (select from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
         where n.nspname = 'eventing' and c.relname = 'dead_letter') as there`,
    )
    return rows[0]?.there === true
  } catch (error) {
    if (error instanceof MigrateError && error.code.startsWith('DATABASE_')) return error
    throw error
  }
}

async function settle(
  database: Database,
  act: typeof retryLetters,
  { ids, who }: { readonly ids: readonly string[]; readonly who: string },
): Promise<string[]> {
  const done: string[] = []
  for (let at = 0; at < ids.length; at += TOGETHER) {
    const some = ids.slice(at, at + TOGETHER)
    done.push(...(await database.transaction((tx) => act(tx, some, who))))
  }
  return done
}

function shown(service: string, row: LetterRow): ConsumerLetter {
  const { id, consumer, topic, partition, offset, key, messageId, type, error, attempts, state, createdAt, age } = row
  const { settledBy, settledAt, valueBytes } = row
  const place = { consumer, topic, partition, offset, key: key?.toString('utf8') ?? null }
  return {
    ...{ kind: 'consumer', id, service, ...place, messageId, type, error, attempts, state, createdAt, age },
    ...{ settledBy, settledAt, valueBytes },
  }
}

/** A record without a key waits alone, by its place. */
function shownKey(service: string, { orderKey, ...key }: WaitingKey): ShownKey {
  return { service, key: orderKey.toString('utf8').replace(/^\0/, ''), ...key }
}
