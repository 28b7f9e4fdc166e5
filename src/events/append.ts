import { MigrateError } from '../errors.ts'
import type { TransactionClient } from '../model/service-database.ts'
import { driverFacts } from '../model/transient.ts'

/**
 * What the caller takes the stream to be: at this version (0 = it does not exist), `no-stream`, existing, or anything.
 * Whatever it is, an append whose events are all stored already, by their ids, succeeds again.
 */
export type ExpectedVersion = number | 'no-stream' | 'exists' | 'any'

/** One append, ready for the database. */
export interface Append {
  readonly stream: string
  readonly expected: ExpectedVersion
  readonly events: readonly {
    readonly id: string
    readonly type: string
    readonly schemaVersion: number
    /** JSON */
    readonly data: string
    /** JSON */
    readonly metadata: string
  }[]
}

export interface Appended {
  /** of the stream's last event of this append */
  readonly version: number
  /** true: an earlier try had stored these events, nothing was written now */
  readonly repeated: boolean
}

/**
 * Appends to different streams in one statement, each all or nothing. One result for each: what was appended, or a typed
 * error (STREAM_CONFLICT, EVENTS_OVERLAP). Rejects with the driver's errors, a single append that PostgreSQL cannot store
 * with EVENT_INVALID; then nothing was appended.
 */
export async function appendAll(
  client: TransactionClient,
  appends: readonly Append[],
  chained: boolean,
): Promise<(Appended | MigrateError)[]> {
  const { rows } = await run(client, appends, chained)
  return (rows as { outcome: string; version: string }[]).map(({ outcome, version }, i) => {
    const { stream, expected } = appends[i] as Append
    if (outcome === 'appended' || outcome === 'stored')
      return { version: Number(version), repeated: outcome === 'stored' }
    if (outcome === 'overlap') return new MigrateError('EVENTS_OVERLAP', { stream })
    return new MigrateError('STREAM_CONFLICT', { stream, expected, found: version })
  })
}

async function run(client: TransactionClient, appends: readonly Append[], chained: boolean) {
  const events = appends.flatMap((append) => append.events)
  const asked = client.query(
    `select outcome, version::text from eventing.append(
       $1::text[], $2::bigint[], $3::int[], $4::uuid[], $5::text[], $6::int[], $7::jsonb[], $8::jsonb[], $9) order by ordinal`,
    [
      appends.map(({ stream }) => stream),
      appends.map(({ expected }) => codeOf(expected)),
      appends.map((append) => append.events.length),
      events.map(({ id }) => id),
      events.map(({ type }) => type),
      events.map(({ schemaVersion }) => schemaVersion),
      events.map(({ data }) => data),
      events.map(({ metadata }) => metadata),
      chained,
    ],
  )
  return asked.catch((error: unknown) => {
    const { code } = driverFacts(error)
    const [first] = events
    if (appends.length > 1 || first === undefined || !REFUSED.test(code)) throw error
    // the message of the driver may have a part of the payload in it
    throw new MigrateError(
      'EVENT_INVALID',
      { type: first.type, reason: `PostgreSQL refuses it (${code})` },
      { cause: error },
    )
  })
}

/** Data exceptions, and what is too big or too deep. */
const REFUSED = /^(22|54)/

function codeOf(expected: ExpectedVersion): number {
  if (expected === 'any') return -1
  if (expected === 'exists') return -2
  return expected === 'no-stream' ? 0 : expected
}
