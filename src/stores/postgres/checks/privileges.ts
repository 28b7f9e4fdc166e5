import { quote } from '../identifier.ts'
import { bySql, type Check, type Found, type Side, sidesOf } from './check.ts'

export const privileges: Check = {
  id: 'privileges',
  severity: 'error',
  looksFor:
    'an apply role that may not read a table, create the schema migrate or temporary tables; one that cannot see other sessions is a warning',
  why: 'Without them a copy stops half-way, or migrate cannot name the session that it waits for.',
  async find(context) {
    const found = await Promise.all([
      tableFound(
        context.monolith,
        context.tables.map(({ oid }) => oid),
      ),
      tableFound(
        context.target,
        context.targetTables.map(({ oid }) => oid),
      ),
      ...sidesOf(context).map(databaseFound),
    ])
    return found.flat()
  },
}

async function tableFound(side: Side, oids: readonly number[]): Promise<Found[]> {
  const { rows } = await side.sql.query<{ table: string; schema: string; usage: boolean; reads: boolean }>(
    `select c.oid::regclass::text as "table", quote_ident(n.nspname) as schema,
       has_schema_privilege(n.oid, 'usage') as usage, has_table_privilege(c.oid, 'select') as reads
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.oid = any($1::oid[]) and not (has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'))`,
    [oids],
  )
  const role = quote(side.server.user)
  return rows.map(({ table, schema, usage, reads }) => {
    const sql = [
      ...(usage ? [] : [`grant usage on schema ${schema} to ${role};`]),
      ...(reads ? [] : [`grant select on ${table} to ${role};`]),
    ]
    const missing = [...(usage ? [] : [`USAGE on schema ${schema}`]), ...(reads ? [] : ['SELECT'])].join(', ')
    return bySql(side, `${side.server.user} may not read ${table}`, `no ${missing}`, sql)
  })
}

async function databaseFound(side: Side): Promise<Found[]> {
  const { rows } = await side.sql.query<{ creates: boolean; stages: boolean; monitors: boolean; signals: boolean }>(
    `select has_database_privilege(current_database(), 'create')
         or coalesce((select pg_has_role(nspowner, 'usage') from pg_namespace where nspname = 'migrate'), false) as creates,
       has_database_privilege(current_database(), 'temporary') as stages,
       pg_has_role(current_user, 'pg_monitor', 'usage') as monitors,
       pg_has_role(current_user, 'pg_signal_backend', 'usage') as signals`,
  )
  const { creates = true, stages = true, monitors = true, signals = true } = rows[0] ?? {}
  const { user, database } = side.server
  const found: Found[] = []
  if (!creates) {
    const sql = `grant create on database ${quote(database)} to ${quote(user)};`
    found.push(bySql(side, `${user} may not create the schema migrate`, 'no CREATE on the database', [sql]))
  }
  if (!stages) {
    const sql = `grant temporary on database ${quote(database)} to ${quote(user)};`
    found.push(bySql(side, `${user} may not create temporary tables`, 'no TEMPORARY on the database', [sql]))
  }
  const wanted = [
    ...(monitors ? [] : ['pg_monitor']),
    ...(signals || side.kind === 'monolith' ? [] : ['pg_signal_backend']),
  ]
  if (wanted.length > 0) {
    const message = `${user} cannot see or end what it waits for`
    const sql = `grant ${wanted.join(', ')} to ${quote(user)};`
    found.push({ ...bySql(side, message, `no member of ${wanted.join(', ')}`, [sql]), severity: 'warning' })
  }
  return found
}
