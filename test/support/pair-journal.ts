// What has been written to a pair's target, kept by triggers in the transactions that wrote it: nothing can be written
// without it, nothing that was rolled back is in it.
import type { Deeds } from './pair-load.ts'
import type { Pair, Side } from './pair.ts'
import { PAIR_TABLES } from './pair-schema.ts'

/** From here on, for the tables of these services and for all checkpoints. `always`: also where triggers are replicas. */
export async function keepJournal(pair: Pair, side: Side, services: readonly string[]): Promise<void> {
  const tables = services.flatMap((service) => Object.keys(PAIR_TABLES).map((table) => `${service}.${table}`))
  const attach = (table: string): string => `
    create trigger journal after insert or update or delete on ${table} for each row execute function journal.note();
    create trigger journal_truncate after truncate on ${table} for each statement execute function journal.note();
    alter table ${table} enable always trigger journal; alter table ${table} enable always trigger journal_truncate;`
  await pair.query(
    side,
    `create schema journal;
    create table journal.write (id bigint generated always as identity, at timestamptz not null, session text not null,
      relation text not null, op text not null, writer int, seq bigint);
    create function journal.note() returns trigger language plpgsql security definer as $$
    declare made jsonb := case when tg_op in ('INSERT', 'UPDATE') then to_jsonb(new) when tg_op = 'DELETE' then to_jsonb(old) end;
    begin
      -- a checkpoint's entry has the name of its pipeline
      insert into journal.write (at, session, relation, op, writer, seq) values (clock_timestamp(),
        current_setting('application_name'), coalesce(made ->> 'pipeline', tg_table_schema || '.' || tg_table_name), tg_op,
        case when tg_table_name = 'ledger' and tg_op = 'INSERT' then (made ->> 'writer')::int end,
        case when tg_table_name = 'ledger' and tg_op = 'INSERT' then (made ->> 'seq')::bigint end);
      return null;
    end $$;
    ${[...tables, 'migrate.checkpoint'].map(attach).join('\n')}`,
  )
}

export interface Account {
  /** acknowledged transactions whose row is not there */
  readonly lost: number
  /** rows of transactions that were never committed */
  readonly invented: number
  /** rows that were written more than once, and counters that differ from the number of rows */
  readonly doubled: number
  /** transactions whose row is there */
  readonly carried: number
}

/** Compares one side with what the load knows. Doubled is only seen where a journal was kept from the first row on. */
export async function account(pair: Pair, side: Side, service: string, deeds: readonly Deeds[]): Promise<Account> {
  const found = { lost: 0, invented: 0, doubled: 0, carried: 0 }
  for (const [i, { acknowledged, unknown }] of deeds.entries()) {
    const rows = await pair.query<{ seq: string }>(side, `select seq from ${service}.ledger where writer = $1`, [i + 1])
    const there = new Set(rows.map(({ seq }) => Number(seq)))
    found.carried += there.size
    found.lost += [...acknowledged].filter((seq) => !there.has(seq)).length
    found.invented += [...there].filter((seq) => !acknowledged.has(seq) && !unknown.has(seq)).length
    const [counter] = await pair.query<{ n: string }>(side, `select n from ${service}.counters where writer = $1`, [
      i + 1,
    ])
    found.doubled += Math.abs(Number(counter?.n) - there.size)
  }
  const [journal] = await pair.query<{ kept: string | null }>(side, `select to_regclass('journal.write')::text as kept`)
  if (journal?.kept !== null) {
    const twice = `select 1 from journal.write where relation = $1 and writer > 0 and seq is not null
      group by writer, seq having count(*) > 1`
    found.doubled += (await pair.query(side, twice, [`${service}.ledger`])).length
  }
  return found
}
