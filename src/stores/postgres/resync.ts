import { MigrateError } from '../../errors.ts'
import { type Change, NOTE, type Relation, type Row, TextValue, type Value } from '../../model/change.ts'
import type { Database, Sql } from '../../model/sql.ts'
import type { TableInfo } from './catalogue.ts'
import type { Key, RowKey } from './compare.ts'
import { connect } from './database.ts'
import { quote } from './identifier.ts'
import { replay } from './replay.ts'
import { comparedColumns, joinKeys } from './row-hash.ts'
import { RowWriter } from './row-writer.ts'
import { translate } from './translate.ts'

export interface ResyncOptions {
  readonly service: string
  /** the forward pipeline of the service */
  readonly pipeline: string
  readonly monolith: Database
  /** the service's database, as the apply role */
  readonly url: string
  /** the service's tables as the monolith has them, and as the service has */
  readonly tables: { readonly monolith: readonly TableInfo[]; readonly service: readonly TableInfo[] }
  /** resolves once what the monolith had committed when it was called is durable in the service */
  readonly caughtUp: () => Promise<void>
}

/** Rows written in one transaction: the sync waits for it. */
const CHUNK = 500
/** A key that changes in every round is carried by the sync, each time anew. */
const ROUNDS = 5

/**
 * Makes the service's rows with these keys equal to the monolith's, besides the running sync. Returns how many keys
 * were written. Throws RESYNC_REFUSED where the monolith is not what the service is copied from.
 *
 * Sound because of three things. The version of each of the monolith's rows is noted, then the sync catches up: what
 * that version was committed with is applied. Then the rows are written in a transaction that first locks the
 * checkpoint row, with which every write of the sync begins: so while the monolith is read once more and the rows are
 * written, nothing is applied in between. And a row that has another version by then is left for the next round: its
 * newer change has not been applied yet, and would be undone for a while. What the monolith commits after that reading
 * the sync applies after this transaction.
 *
 * After the last round a row that changed every time is left to the sync, which has written its newest values since;
 * only a large value that none of these changes touched (TOAST) is not among them.
 */
export async function resync(options: ResyncOptions, keys: readonly RowKey[]): Promise<number> {
  let left = keys
  let written = 0
  for (let round = 1; left.length > 0 && round <= ROUNDS; round++) {
    const before = new Map<RowKey, string | null>()
    for (const [table, chunk] of chunks(options, left)) {
      const found = await readRows(options.monolith, table, chunk)
      chunk.forEach((key, i) => before.set(key, found[i]?.version ?? null))
    }
    await options.caughtUp()
    const moved: RowKey[] = []
    for (const [table, chunk] of chunks(options, left)) {
      const done = await writeChunk(options, table, chunk, before)
      moved.push(...chunk.filter((key) => !done.has(key)))
      written += done.size
    }
    left = moved
  }
  if (left.length > 0) await options.caughtUp()
  return written
}

async function writeChunk(
  options: ResyncOptions,
  table: TableInfo,
  keys: readonly RowKey[],
  before: ReadonlyMap<RowKey, string | null>,
): Promise<Set<RowKey>> {
  const { service, pipeline, url, tables, monolith } = options
  const { client, login } = await connect({
    url,
    role: service,
    applicationName: `migrate/resync/${service}`.slice(0, 63),
    // frozen with the lock, this must not stop the sync for longer
    settings: { idle_in_transaction_session_timeout: '5s', lock_timeout: '2s' },
  })
  try {
    // as the sync itself: the rows arrive as the source's triggers and foreign keys left them
    await client.query(`set session_replication_role = replica`)
    await client.query('begin')
    const { rows } = await client.query<{ state: string; note: string }>(
      `with locked as (select state, epoch from migrate.checkpoint where pipeline = $1 for update)
       select state, pg_logical_emit_message(true, '${NOTE.apply}', $2 || ' forward ' || epoch)::text as note from locked`,
      [pipeline, service],
    )
    if (rows[0]?.state !== 'apply') throw new MigrateError('RESYNC_REFUSED', { service })
    const relation = relationOf(table)
    const writer = new RowWriter(client, { service, role: service, tables: tables.service })
    const done = new Set<RowKey>()
    const changes: Change[] = []
    const found = await readRows(monolith, table, keys)
    for (const [i, key] of keys.entries()) {
      const row = found[i] ?? null
      if ((row?.version ?? null) !== before.get(key)) continue
      changes.push(changeOf(relation, writer, key.key, row?.values ?? null))
      done.add(key)
    }
    // whatever second legs have made of the rows, as after the grace
    await replay(writer, [{ changes }], new Map())
    await client.query('commit')
    return done
  } catch (error) {
    throw error instanceof MigrateError ? error : translate(error, login)
  } finally {
    // what was not committed is rolled back with the connection
    await client.end().catch(() => undefined)
  }
}

function changeOf(relation: Relation, writer: RowWriter, key: Key, values: readonly (string | null)[] | null): Change {
  if (values !== null) return { op: 'insert', relation, row: values.map(valueOf) }
  const columns = writer.of(relation).keyColumns
  const old: Value[] = relation.columns.map(() => null)
  for (const [i, column] of columns.entries()) old[column] = valueOf(key[i] ?? null)
  return { op: 'delete', relation, old: old as Row }
}

function valueOf(value: Buffer | string | null): Value {
  return typeof value === 'string' ? new TextValue(Buffer.from(value)) : value
}

/** The table as the stream would describe it. */
function relationOf(table: TableInfo): Relation {
  const columns = comparedColumns(table).map((name) => {
    return { name, typeOid: 0, typeModifier: -1, key: table.primaryKey.includes(name) }
  })
  return { id: table.oid, schema: table.schema, name: table.name, identity: 'default', columns }
}

interface FoundRow {
  readonly row: number
  readonly version: string
  readonly values: (string | null)[]
}

/** The rows with these keys in their order, undefined where there is none; values in their text form, to the last digit. */
async function readRows(sql: Sql, table: TableInfo, keys: readonly RowKey[]): Promise<(FoundRow | undefined)[]> {
  const values = comparedColumns(table).map((name) => `t.${quote(name)}::text`)
  const { rows } = await sql.query<FoundRow>(
    `select v.row, t.xmin || ' ' || t.ctid as version, array[${values.join(', ')}] as values
     from ${joinKeys(table, keys.length)}`,
    keys.flatMap(({ key }) => [...key]),
  )
  const byRow = new Map(rows.map((row) => [row.row, row]))
  return keys.map((_, i) => byRow.get(i))
}

function* chunks({ tables }: ResyncOptions, keys: readonly RowKey[]): Generator<[TableInfo, RowKey[]]> {
  for (const table of tables.monolith) {
    const mine = keys.filter((key) => key.table === `${table.schema}.${table.name}`)
    for (let start = 0; start < mine.length; start += CHUNK) yield [table, mine.slice(start, start + CHUNK)]
  }
}
