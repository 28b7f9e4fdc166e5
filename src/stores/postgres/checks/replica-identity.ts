import { byHand, bySql, type Check, type Found, type Side } from './check.ts'

export const replicaIdentity: Check = {
  id: 'replica-identity',
  severity: 'error',
  looksFor: 'a table, or a partition of it, without a primary key, or whose replica identity is not that key',
  why: 'Publishing it would make every UPDATE and DELETE on it fail in the monolith.',
  async find({ monolith, tables }) {
    const oids = tables.flatMap(({ leaves }) => leaves.map(({ oid }) => oid))
    const { rows } = await monolith.sql.query<Row>(
      `select c.oid::regclass::text as name, c.relreplident as identity, p.indexrelid is not null as keyed,
         coalesce(p.indimmediate, false) as immediate,
         (select quote_ident(k.relname) from pg_index i join pg_class k on k.oid = i.indexrelid
          where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
            and i.indexprs is null and not exists (
              select from unnest(i.indkey::int2[]) k join pg_attribute a on a.attrelid = c.oid and a.attnum = k
              where not a.attnotnull)
          order by i.indnkeyatts, k.relname limit 1) as candidate
       from pg_class c left join pg_index p on p.indrelid = c.oid and p.indisprimary
       where c.oid = any($1::oid[]) and c.relkind in ('r', 'p')
       order by c.oid`,
      [oids],
    )
    return rows
      .filter(({ keyed, immediate, identity }) => !(keyed && immediate && identity === 'd'))
      .map((row) => found(monolith, row))
  },
}

interface Row {
  readonly name: string
  readonly identity: 'd' | 'n' | 'f' | 'i'
  readonly keyed: boolean
  readonly immediate: boolean
  readonly candidate: string | null
}

const IDENTITY: Record<Row['identity'], string> = { d: 'default', n: 'nothing', f: 'full', i: 'an index' }

function found(side: Side, { name, identity, keyed, immediate, candidate }: Row): Found {
  if (keyed && immediate) {
    const sql = `alter table ${name} replica identity default;`
    return bySql(side, `the replica identity of ${name} is not its primary key`, IDENTITY[identity], [sql])
  }
  if (keyed) {
    const fix = `Make it not deferrable: drop the constraint and add it again; every UPDATE and DELETE waits meanwhile.`
    return byHand(side, `the primary key of ${name} is deferrable`, 'deferrable primary key', fix)
  }
  const message = `${name} has no primary key: publishing it would make every UPDATE and DELETE on it fail`
  if (candidate !== null) {
    const sql = `alter table ${name} add primary key using index ${candidate};`
    return bySql(side, message, `no primary key, unique index ${candidate}`, [sql])
  }
  // rewrites the table under an exclusive lock: for a person to choose the hour
  const fix = `alter table ${name} add column id bigint generated always as identity primary key;  -- rewrites the table`
  return byHand(side, message, 'no primary key, no unique index', fix)
}
