// Two transactions that are open at once and commit one right after the other: where the first one ends, the commit
// record of the second one begins, so that an acknowledgement one byte too far loses the second.
import type pg from 'pg'

/**
 * Commits so many pairs into `table (n, body)`; the second of a pair begins first. The first one carries a token of the
 * service, which makes it a batch of its own: a worker can stop between the two.
 */
export async function commitInterleaved(
  [one, two]: readonly [pg.Client, pg.Client],
  { table, service, pairs, from = 0 }: { table: string; service: string; pairs: number; from?: number },
): Promise<void> {
  // so close together that nothing else comes in between
  for (const client of [one, two]) await client.query(`set synchronous_commit = off`)
  for (let pair = from; pair < from + pairs; pair++) {
    await two.query(`begin; insert into ${table} values (${2 * pair + 1}, repeat('b', 20))`)
    await one.query(`begin; insert into ${table} values (${2 * pair}, repeat('a', 20));
      select pg_logical_emit_message(true, 'migrate.token', '${service} 0 pair-${pair}')`)
    await one.query('commit')
    await two.query('commit')
  }
}
