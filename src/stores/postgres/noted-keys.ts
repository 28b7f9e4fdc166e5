import type pg from 'pg'
import type { Relation, Row } from '../../model/change.ts'
import type { Database } from '../../model/sql.ts'
import type { RowKey } from './compare.ts'
import { keyAsJson, keyFromJson } from './key-json.ts'

/** Notes keys for a later look at their rows, in the transaction that is open on the client. */
export async function noteKeys(
  client: pg.Client,
  pipeline: string,
  keys: readonly { readonly relation: Relation; readonly key: Row }[],
): Promise<void> {
  const texts = keys.map(({ relation, key }) => [`${relation.schema}.${relation.name}`, JSON.stringify(keyAsJson(key))])
  await client.query(
    `insert into migrate.resync (pipeline, relation, key)
     select distinct $1::text, r, k from unnest($2::text[], $3::jsonb[]) as t(r, k)
     on conflict (pipeline, relation, key) do update set noted_at = clock_timestamp()`,
    [pipeline, texts.map(([relation]) => relation), texts.map(([, key]) => key)],
  )
}

/** All keys noted. */
export async function notedKeys(target: Database, pipeline: string): Promise<RowKey[]> {
  const { rows } = await target.query<{ relation: string; key: (string | null)[] }>(
    `select relation, key from migrate.resync where pipeline = $1 order by relation, key`,
    [pipeline],
  )
  return rows.map(({ relation, key }) => ({ table: relation, key: keyFromJson(key) }))
}

/** The time by which keys are noted: that of the service's server. */
export async function noteTime(target: Database): Promise<string> {
  const { rows } = await target.query<{ at: string }>(`select clock_timestamp()::text as at`)
  return rows[0]?.at ?? '-infinity'
}

/** Forgets the keys noted more than so many seconds before `at`. */
export async function forgetNotedKeys(
  target: Database,
  pipeline: string,
  { at, seconds }: { readonly at: string; readonly seconds: number },
): Promise<void> {
  await target.query(
    `delete from migrate.resync where pipeline = $1 and noted_at < $2::timestamptz - $3 * interval '1 second'`,
    [pipeline, at, seconds],
  )
}
