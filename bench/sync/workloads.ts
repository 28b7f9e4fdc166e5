import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { type Bed, open } from './bed.ts'

export interface Workload {
  readonly name: string
  readonly schema: URL
  /** what is published; `marks` is the last */
  readonly tables: readonly string[]
  /** rows that are there before the load: the same on every side */
  readonly fill: string
  /** how many row changes `write` makes, without the mark */
  readonly changes: number
  write(bed: Bed): Promise<void>
}

const CLIENTS = 4
const ACCOUNTS = 100_000

/** One transaction; the accounts behind the first `before` of such ones. */
export const bigInsert = (rows: number, before = 0): string =>
  `insert into accounts select i, 1, 0, 'inserted'
   from generate_series(${ACCOUNTS + before + 1}, ${ACCOUNTS + before + rows}) i`

/** 325,000 small transactions of an update and an insert, one insert of a million rows, one update of half of them. */
export function mixed(scale: number): Workload {
  const small = Math.round((325_000 * scale) / CLIENTS)
  const [inserted, updated] = [Math.round(1_000_000 * scale), Math.round(500_000 * scale)]
  return {
    name: 'apply',
    schema: new URL('accounts.sql', import.meta.url),
    tables: ['accounts', 'history', 'marks'],
    fill: `insert into accounts select i, 1, 0, 'filled' from generate_series(1, ${ACCOUNTS}) i`,
    changes: small * CLIENTS * 2 + inserted + updated,
    async write(bed) {
      await inParallel(bed, `call small(${small}, ${ACCOUNTS})`)
      await bed.sql.query(bigInsert(inserted))
      await bed.sql.query(`update accounts set abalance = abalance + 1 where aid between ${ACCOUNTS + 1}
        and ${ACCOUNTS + updated}`)
    },
  }
}

/** pgbench's TPC-B at scale 1: every transaction updates the one branch, a teller of ten, an account. */
export function hotKeys(scale: number): Workload {
  const each = Math.round((60_000 * scale) / CLIENTS)
  return {
    name: 'hot',
    schema: new URL('tpcb.sql', import.meta.url),
    tables: ['pgbench_branches', 'pgbench_tellers', 'pgbench_accounts', 'pgbench_history', 'marks'],
    fill: `insert into pgbench_branches values (1, 0, '');
      insert into pgbench_tellers select i, 1, 0, '' from generate_series(1, 10) i;
      insert into pgbench_accounts select i, 1, 0, '' from generate_series(1, 100000) i`,
    changes: each * CLIENTS * 4,
    async write(bed) {
      const flags = ['-n', '-b', 'tpcb-like', '-M', 'prepared', '-c', String(CLIENTS), '-t', String(each)]
      await bed.ran(bed.program('pgbench', flags, { hasty: true }))
    },
  }
}

export interface Rate {
  readonly perSecond: number
  readonly seconds: number
  /** commits do not wait for the disk; then the log is not sent at once either */
  readonly hasty?: boolean
}

/** pgbench with the small transactions of `mixed`, at a steady rate: begun on time, whatever the ones before take. */
export async function steadyLoad(bed: Bed, { perSecond, seconds, hasty = false }: Rate): Promise<RunningProcess> {
  const file = join(bed.folder, 'small.sql')
  const script = `\\set aid random(1, ${ACCOUNTS})
begin;
update accounts set abalance = abalance + 1 where aid = :aid;
insert into history (aid, delta) values (:aid, 1);
end;
`
  await writeFile(file, script)
  const flags = ['-n', '-f', file, '-M', 'prepared', '-c', '8', '-R', String(perSecond), '-T', String(seconds)]
  return bed.program('pgbench', flags, { cpu: 0, hasty })
}

/** Transactions of several sessions interleave in the log, as those of an application do. */
async function inParallel(bed: Bed, sql: string): Promise<void> {
  const run = async (): Promise<void> => {
    const client = await open(bed.source.url('bench'))
    try {
      await client.query('set synchronous_commit = off')
      await client.query(sql)
    } finally {
      await client.end()
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, run))
}
