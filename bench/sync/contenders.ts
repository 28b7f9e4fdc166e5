import pg from 'pg'
import { type Bed, open, OURS, SERVICE, type Side, SIDES } from './bed.ts'
import { LAST, POLL_MS, shown } from './marks.ts'

/** Somebody who reads the log that was written, from its begin, as often as wanted. */
export interface Contender {
  readonly name: string
  /** the database that it fills; null = it applies nothing */
  readonly side: Side | null
  /** everything as it was before the load was written */
  reset(): Promise<void>
  /** Reads, and applies, all of it. */
  run(): Promise<Run>
}

export interface Run {
  readonly seconds: number
  /** ours: without the start of the program */
  readonly following?: number
  /** of the process that is ours to start, while it ran */
  readonly pid?: number
}

interface RaceOptions {
  /** arguments of our Node.js */
  readonly node: readonly string[]
  /** a process of ours was started */
  onStart(pid: number): void
}

type Streaming = 'on' | 'off'

const SENDER = 'walsender'

/** Our copy and all slots, before the load is written; a copy of each, so that a run can be repeated. */
export async function prepare(bed: Bed): Promise<void> {
  await bed.ran(bed.migrate(['sync', SERVICE, '--once']))
  for (const slot of ['native', SENDER]) {
    await bed.sql.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [slot])
  }
  for (const slot of [OURS, 'native', SENDER]) await copySlot(bed.sql, slot, `saved_${slot}`)
  for (const side of SIDES) {
    await bed.onTarget(side, 'analyze')
    await bed.admin.query(`create database saved_${side} template ${side}`)
  }
}

export function contenders(bed: Bed, end: string, options: RaceOptions): Contender[] {
  return [walSender(bed, end, options), native(bed, 'on'), native(bed, 'off'), ours(bed, options)]
}

/** From the start of the program to its end: it ends when all is durable. */
function ours(bed: Bed, { node, onStart }: RaceOptions): Contender {
  return {
    name: 'ours',
    side: 'ours',
    async reset() {
      await freshDatabase(bed, 'ours')
      await freshSlot(bed.sql, OURS)
    },
    async run() {
      const started = performance.now()
      const running = await bed.migrate(['sync', SERVICE, '--once'], node)
      onStart(running.pid)
      const following = running.stderr.find(/following forward/).then(() => performance.now())
      await bed.ran(Promise.resolve(running))
      const ended = performance.now()
      return { seconds: (ended - started) / 1_000, following: (ended - (await following)) / 1_000 }
    },
  }
}

/**
 * PostgreSQL's own, in binary, until the last row shows: it is durable a little later, since a subscription does not wait
 * for the disk (synchronous_commit = off by default). Big transactions are streamed into files of the target as they
 * grow, or else spilled by the source until they commit: which is faster depends on the load, so both run.
 */
function native(bed: Bed, streaming: Streaming): Contender {
  return {
    name: streaming === 'on' ? 'native' : 'native-unstreamed',
    side: 'native',
    async reset() {
      await dropSubscription(bed)
      await freshDatabase(bed, 'native')
      await freshSlot(bed.sql, 'native')
      await bed.onTarget('native', subscription(bed, streaming))
    },
    async run() {
      const client = await open(bed.target.url('native'))
      try {
        const started = performance.now()
        await client.query('alter subscription native enable')
        await shown(client, LAST)
        const run = { seconds: (performance.now() - started) / 1_000 }
        // its WAL sender would go on beside the others
        await client.query('alter subscription native disable')
        await released(bed.sql, 'native')
        return run
      } finally {
        await client.end()
      }
    },
  }
}

/** The log decoded and sent, and thrown away: nobody who gets his changes from a WAL sender can be faster. */
function walSender(bed: Bed, end: string, { onStart }: RaceOptions): Contender {
  const options = ['proto_version=2', `publication_names=${OURS}`, 'binary=true', 'streaming=on']
  return {
    name: 'pg_recvlogical',
    side: null,
    reset: () => freshSlot(bed.sql, SENDER),
    async run() {
      const started = performance.now()
      const running = await bed.program('pg_recvlogical', [
        ...['--start', '--no-loop', '-d', 'bench', '-S', SENDER, '--endpos', end, '-f', '/dev/null'],
        ...options.flatMap((option) => ['-o', option]),
      ])
      onStart(running.pid)
      await bed.ran(Promise.resolve(running))
      return { seconds: (performance.now() - started) / 1_000 }
    },
  }
}

/** Of the slot `native`, which is there; it does not start yet. */
export function subscription(bed: Bed, streaming: Streaming): string {
  return `create subscription native connection ${pg.escapeLiteral(bed.source.url('bench'))} publication ${OURS}
    with (slot_name = 'native', create_slot = false, copy_data = false, enabled = false, binary = true,
      streaming = ${streaming})`
}

async function dropSubscription(bed: Bed): Promise<void> {
  const there = await bed.admin.query(`select 1 from pg_subscription where subname = 'native'`)
  if (there.rowCount === 0) return
  for (const what of ['disable', 'set (slot_name = none)']) {
    await bed.onTarget('native', `alter subscription native ${what}`)
  }
  await bed.onTarget('native', 'drop subscription native')
}

/** As it was saved. The rights on a database are not part of a template. */
async function freshDatabase(bed: Bed, side: Side): Promise<void> {
  await bed.admin.query(`drop database ${side} with (force)`)
  await bed.admin.query(`create database ${side} template saved_${side}`)
  await bed.admin.query(`grant create on database ${side} to migrate_apply`)
  await bed.admin.query('checkpoint')
}

async function freshSlot(sql: pg.Client, slot: string): Promise<void> {
  await released(sql, slot)
  await sql.query('select pg_drop_replication_slot($1)', [slot])
  await copySlot(sql, `saved_${slot}`, slot)
}

async function released(sql: pg.Client, slot: string): Promise<void> {
  const active = `select 1 from pg_replication_slots where slot_name = $1 and active`
  while ((await sql.query(active, [slot])).rowCount !== 0) await wait()
}

async function copySlot(sql: pg.Client, from: string, to: string): Promise<void> {
  await sql.query('select pg_copy_logical_replication_slot($1, $2)', [from, to])
}

const wait = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, POLL_MS))
