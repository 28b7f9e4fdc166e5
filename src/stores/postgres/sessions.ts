import type { Sql } from '../../model/sql.ts'

/** Transactions of clients that have been open for so many seconds, and prepared ones, as text for a person. */
export async function longTransactions(sql: Sql, seconds: number): Promise<string[]> {
  const { rows } = await sql.query<{ text: string }>(
    `select format('pid %s (%s, %s, %s s)', pid, usename, coalesce(nullif(application_name, ''), 'unnamed'),
         round(extract(epoch from clock_timestamp() - xact_start))) as text
     from pg_stat_activity
     where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
       and xact_start < clock_timestamp() - $1 * interval '1 second'
     union all
     select format('prepared transaction %s', gid) from pg_prepared_xacts where database = current_database()`,
    [seconds],
  )
  return rows.map((row) => row.text)
}

/** Statements of clients that are at work in this database now, ours and waiting ones included, this one not. */
export async function activeStatements(sql: Sql): Promise<number> {
  const { rows } = await sql.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and backend_type = 'client backend' and state = 'active'
       and pid <> pg_backend_pid()`,
  )
  return rows[0]?.count ?? 0
}
