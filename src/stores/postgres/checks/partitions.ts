import { byHand, type Check, type Found } from './check.ts'

export const partitions: Check = {
  id: 'partitions',
  severity: 'error',
  looksFor:
    'a partition named without its table, a foreign table among the partitions, a table with children by inheritance',
  why: 'Half of a table would move: the copy sees rows whose changes are never sent, or the other way round.',
  async find({ monolith, tables, oids, service }) {
    const { rows } = await monolith.sql.query<{ name: string; root: string | null; kind: string; children: number }>(
      `select c.oid::regclass::text as name, c.relkind as kind,
         case when c.oid = any($2::oid[]) and c.relispartition then pg_partition_root(c.oid)::regclass::text end as root,
         case when c.relkind = 'r' then (select count(*)::int from pg_inherits where inhparent = c.oid) else 0 end as children
       from pg_class c where c.oid = any($1::oid[]) order by c.oid`,
      [oids, tables.map(({ oid }) => oid)],
    )
    return rows.flatMap(({ name, root, kind, children }): Found[] => {
      if (root !== null) {
        const fix = `Name ${root} in services.${service}.tables instead: a partitioned table moves as a whole.`
        return [byHand(monolith, `${name} is a partition of ${root}`, 'partition', fix)]
      }
      if (kind === 'f') {
        const fix = `Detach it: its rows are in another server. (alter table … detach partition ${name})`
        return [byHand(monolith, `the partition ${name} is a foreign table`, 'foreign table', fix)]
      }
      if (children === 0) return []
      const fix = 'Move the rows into the table, or make it a partitioned table.'
      return [byHand(monolith, `${name} has children by inheritance`, `${children} children`, fix)]
    })
  },
}
