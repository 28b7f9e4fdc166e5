import { MigrateError } from '../errors.ts'
import { asLsn, formatLsn } from '../model/lsn.ts'
import type { Database, Sql } from '../model/sql.ts'
import type {
  KeyText,
  KnownDrift,
  ReconcileStore,
  StoredRange,
  StoredTable,
  TableStanding,
} from '../reconcile/ports.ts'

/**
 * The state of reconcile in the control database. Every statement that writes checks the lease: what a run sends after
 * another has taken over changes nothing and throws TAKEN_OVER.
 */
export function reconcileStore(
  database: Database,
  service: string,
  lease: { name: string; epoch: number },
): ReconcileStore {
  let run = 0

  async function write(text: string, values: readonly unknown[]): Promise<void> {
    const { rowCount } = await database.query(
      `with mine as materialized (select from migrate.lease where name = $1 and epoch = $2 for share), done as (${text})
       select 1 from mine`,
      [lease.name, lease.epoch, ...values],
    )
    if (rowCount !== 1) throw new MigrateError('TAKEN_OVER', { what: lease.name })
  }

  return {
    async openRun({ side, epoch, strict }) {
      const { rows } = await database.query<{ id: number }>(
        `insert into migrate.reconcile_run (service, fencing, side, epoch, strict)
         select $3, $2, $4, $5, $6 from migrate.lease where name = $1 and epoch = $2 returning id::float8 as id`,
        [lease.name, lease.epoch, service, side, epoch, strict],
      )
      if (rows[0] === undefined) throw new MigrateError('TAKEN_OVER', { what: lease.name })
      run = rows[0].id
    },
    tables: (relations) => readTables(database, service, relations),
    async replan(relation, signature, ranges) {
      await database.transaction(async (sql) => {
        const { rowCount } = await sql.query(`select from migrate.lease where name = $1 and epoch = $2 for share`, [
          lease.name,
          lease.epoch,
        ])
        if (rowCount !== 1) throw new MigrateError('TAKEN_OVER', { what: lease.name })
        await sql.query(`delete from migrate.reconcile_range where service = $1 and relation = $2`, [service, relation])
        await sql.query(
          `insert into migrate.reconcile_table (service, relation, signature) values ($1, $2, $3)
           on conflict (service, relation) do update set signature = excluded.signature, pass_started_at = null,
             verified_epoch = case when reconcile_table.signature = excluded.signature
               then reconcile_table.verified_epoch end`,
          [service, relation, signature],
        )
        await sql.query(
          `insert into migrate.reconcile_range (service, relation, number, lo, hi)
           select $1, $2, n - 1, lo, hi from unnest($3::jsonb[], $4::jsonb[]) with ordinality as r(lo, hi, n)`,
          [service, relation, ranges.map(({ lo }) => json(lo)), ranges.map(({ hi }) => json(hi))],
        )
      })
    },
    beginPass: (relations, epoch, strict) =>
      write(
        `update migrate.reconcile_table set pass_started_at = now(), pass_epoch = $5, pass_strict = $6
         where service = $3 and relation = any($4) and exists (select from mine) returning 1`,
        [service, relations, epoch, strict],
      ),
    conclude: ({ relation, number, state, rows, position, age }, epoch) =>
      write(
        `update migrate.reconcile_range set state = $6, row_count = coalesce($7, row_count),
           looked_at = clock_timestamp(),
           verified_through = case when $6 = 'verified' then $8::pg_lsn else verified_through end,
           verified_at = case when $6 = 'verified' then clock_timestamp() - $9 * interval '1 millisecond'
             else verified_at end,
           verified_epoch = case when $6 = 'verified' then $10::bigint end
         where service = $3 and relation = $4 and number = $5 and exists (select from mine) returning 1`,
        [service, relation, number, state, rows, formatLsn(asLsn(position)), age, epoch],
      ),
    async noteDrift(found) {
      if (found.length === 0) return
      await write(
        `insert into migrate.drift as d (service, relation, key, kind, columns)
         select $3, f->>'relation', f->'key', f->>'kind', array(select jsonb_array_elements_text(f->'columns'))
         from jsonb_array_elements($4::jsonb) f where exists (select from mine)
         on conflict (service, relation, key) do update set kind = excluded.kind, columns = excluded.columns,
           first_seen = case when d.cleared_at is null then d.first_seen else excluded.first_seen end,
           last_seen = excluded.last_seen, cleared_at = null
         returning 1`,
        [service, JSON.stringify(found)],
      )
    },
    clearDrift: (relation, keys) =>
      write(
        `update migrate.drift set cleared_at = clock_timestamp()
         where service = $3 and relation = $4 and key = any($5::jsonb[]) and cleared_at is null
           and exists (select from mine) returning 1`,
        [service, relation, keys.map(json)],
      ),
    async knownDrift(relation, after, limit) {
      const { rows } = await database.query<KnownDrift>(
        `select relation, key, kind, columns, first_seen::text as "firstSeen", last_seen::text as "lastSeen"
         from migrate.drift
         where service = $1 and relation = $2 and cleared_at is null and ($3::jsonb is null or key > $3::jsonb)
         order by key limit $4`,
        [service, relation, json(after), limit],
      )
      return rows
    },
    async standing(relations, epoch) {
      await write(
        `update migrate.reconcile_table t set verified_through = r.through, verified_at = r.at, verified_epoch = $5
         from (select relation, min(verified_through) as through, min(verified_at) as at
               from migrate.reconcile_range where service = $3 and relation = any($4)
               group by relation having bool_and(verified_epoch is not distinct from $5)) r
         where t.service = $3 and t.relation = r.relation and exists (select from mine) returning 1`,
        [service, relations, epoch],
      )
      return readStanding(database, service, relations, epoch)
    },
    closeRun: (outcome, reason, { ranges, rows }) =>
      write(
        `update migrate.reconcile_run set outcome = $4, reason = nullif($5, ''), ranges = $6, row_count = $7,
           ended_at = clock_timestamp()
         where id = $3 and exists (select from mine) returning 1`,
        [run, outcome, reason, ranges, rows],
      ),
  }
}

/** What reconcile knows about each of these tables; tables that it has never looked at are left out. */
export async function readStanding(
  sql: Sql,
  service: string,
  relations: readonly string[],
  epoch: number,
): Promise<TableStanding[]> {
  const { rows } = await sql.query<Omit<TableStanding, 'verifiedThrough'> & { verifiedThrough: string | null }>(
    `select relation,
       case when verified_epoch = $3 then (verified_through - '0/0')::text end as "verifiedThrough",
       case when verified_epoch = $3 then extract(epoch from clock_timestamp() - verified_at)::float8 end as "verifiedAge",
       (select json_build_object('missing', count(*) filter (where kind = 'missing'),
           'extra', count(*) filter (where kind = 'extra'), 'different', count(*) filter (where kind = 'different'))
        from migrate.drift d where d.service = t.service and d.relation = t.relation and cleared_at is null) as drift
     from migrate.reconcile_table t where service = $1 and relation = any($2) order by relation`,
    [service, relations, epoch],
  )
  return rows.map((row) => ({
    ...row,
    verifiedThrough: row.verifiedThrough === null ? null : BigInt(row.verifiedThrough),
  }))
}

/** The next run begins a new pass over every table of the service, whatever was left of the last one. */
export async function forgetPasses(sql: Sql, service: string): Promise<void> {
  await sql.query(`update migrate.reconcile_table set pass_started_at = null where service = $1`, [service])
}

/** Every row of the service that is known to differ: its table and its key as texts. */
export async function driftedKeys(sql: Sql, service: string): Promise<{ table: string; key: string[] }[]> {
  const { rows } = await sql.query<{ table: string; key: string[] }>(
    `select relation as "table", key from migrate.drift where service = $1 and cleared_at is null order by 1, 2`,
    [service],
  )
  return rows
}

/** Has reconcile ever compared this service to an end? False also where its schema is not installed yet. */
export async function hasReconciled(sql: Sql, service: string): Promise<boolean> {
  const { rows } = await sql.query<{ present: boolean }>(
    `select to_regclass('migrate.reconcile_run') is not null as present`,
  )
  if (rows[0]?.present !== true) return false
  const { rowCount } = await sql.query(
    `select 1 from migrate.reconcile_run where service = $1 and outcome <> 'failed' limit 1`,
    [service],
  )
  return rowCount === 1
}

/** The services in the order of their last run, those that never had one first. */
export async function byLastRun(sql: Sql, services: readonly string[]): Promise<string[]> {
  const { rows } = await sql.query<{ service: string }>(
    `select service from unnest($1::text[]) with ordinality s(service, place)
     order by (select max(id) from migrate.reconcile_run r where r.service = s.service) nulls first, place`,
    [services],
  )
  return rows.map(({ service }) => service)
}

/** Ages by one clock reading: tables whose pass began together have the same. */
async function readTables(sql: Sql, service: string, relations: readonly string[]): Promise<StoredTable[]> {
  const { rows } = await sql.query<Omit<StoredTable, 'ranges'> & { ranges: StoredRange[] | null }>(
    `select relation, signature, extract(epoch from now() - pass_started_at)::float8 as "passAge",
       coalesce(pass_epoch, 0)::float8 as epoch, coalesce(pass_strict, false) as strict,
       (select json_agg(json_build_object('number', number, 'lo', lo, 'hi', hi, 'state', state, 'rows', row_count,
           'done', state in ('verified', 'drift') and coalesce(looked_at >= t.pass_started_at, false),
           'verifiedAge', extract(epoch from now() - verified_at)) order by number)
        from migrate.reconcile_range r where r.service = t.service and r.relation = t.relation) as ranges
     from migrate.reconcile_table t where service = $1 and relation = any($2)`,
    [service, relations],
  )
  const found = new Map(rows.map((row) => [row.relation, { ...row, ranges: row.ranges ?? [] }]))
  return relations.flatMap((relation) => found.get(relation) ?? [])
}

function json(key: KeyText | null): string | null {
  return key === null ? null : JSON.stringify(key)
}
