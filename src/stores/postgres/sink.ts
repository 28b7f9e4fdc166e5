import type pg from 'pg'
import { MigrateError } from '../../errors.ts'
import type { Relation } from '../../model/change.ts'
import type { Lsn } from '../../model/lsn.ts'
import type { Direction } from '../../model/progress.ts'
import type { Database } from '../../model/sql.ts'
import type {
  Checkpoint,
  RowName,
  RowWrite,
  Sink,
  SinkBatch,
  SinkResult,
  WriteOutcome,
  Written,
} from '../../sync/ports.ts'
import type { RawTransaction } from '../../sync/raw-transaction.ts'
import { applyTogether, applyWithCare, isOutOfOrder } from './apply-transactions.ts'
import type { TableInfo } from './catalogue.ts'
import { applicationName, CHECKPOINT_CHANNEL, readCheckpoint } from './checkpoint.ts'
import { converge } from './converge.ts'
import { connect } from './database.ts'
import { keyAsJson } from './key-json.ts'
import { authorityAllows, discardFrom, flushCheckpoint, moveCheckpoint, WITHOUT_DISK } from './move-checkpoint.ts'
import { noteKeys } from './noted-keys.ts'
import { replay } from './replay.ts'
import { RowWriter } from './row-writer.ts'
import { sqlstate, translate } from './translate.ts'

export interface SinkOptions {
  readonly url: string
  readonly role: string
  /** pooled access to the same database */
  readonly database: Database
  readonly service: string
  readonly direction: Direction
  readonly pipeline: string
  readonly epoch: number
  readonly tables: readonly TableInfo[]
  /** how long a statement may wait for somebody's lock, milliseconds; default 60 s */
  readonly statementTimeout?: number
  /** a place where a test ends or freezes this process */
  readonly failpoint?: (name: string) => Promise<void>
}

/** A leg or anybody else may hold up a converging write for so long, milliseconds; then its session is ended. */
const PATIENCE = 1_000

/** The PostgreSQL target of a pipeline: rows and checkpoint move in one transaction. */
export async function openSink(options: SinkOptions): Promise<Sink> {
  const { client, sql, login } = await connect({
    url: options.url,
    role: options.role,
    applicationName: `${applicationName(options.pipeline)}/${options.epoch}`,
    statementTimeout: options.statementTimeout ?? 60_000,
  })
  // rows arrive as the source's triggers and foreign keys left them; firing the target's again would change them
  await sql.query(`set session_replication_role = replica`)
  // what is said to be durable has to be, whatever the database has as its default
  await sql.query(`select set_config('synchronous_commit', 'on', false) where ${WITHOUT_DISK}`)
  // a batch finds its rows by the index, however few the planner takes them for, and has no time to compile anything
  await sql.query(`set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off; set jit = off`)
  // a worker that is frozen must not hold rows for longer than its lease
  await sql.query(`set idle_in_transaction_session_timeout = '10s'`)
  const { rows } = await sql.query<{ pid: number }>(`select pg_backend_pid() as pid`)
  return new PostgresSink(options, client, rows[0]?.pid ?? 0, login)
}

class PostgresSink implements Sink {
  readonly #options: SinkOptions
  readonly #client: pg.Client
  readonly #pid: number
  readonly #login: { role: string; address: string }
  readonly #rows: RowWriter
  /** a big transaction is in the target in part: what has found no row yet, by key */
  #open: Map<string, RowWrite> | null = null
  #listening: AsyncDisposable | null = null

  constructor(options: SinkOptions, client: pg.Client, pid: number, login: { role: string; address: string }) {
    this.#options = options
    this.#client = client
    this.#pid = pid
    this.#login = login
    this.#rows = new RowWriter(client, options)
  }

  async checkpoint(): Promise<Checkpoint> {
    const found = await readCheckpoint(this.#options.database, this.#options.pipeline)
    if (found === null) throw new MigrateError('TAKEN_OVER', { what: `the pipeline ${this.#options.pipeline}` })
    return found
  }

  async flush(): Promise<Lsn | null> {
    return await flushCheckpoint(this.#options.database, this.#options.pipeline, this.#options.epoch)
  }

  onChange(changed: () => void): void {
    this.#listening ??= this.#options.database.listen(CHECKPOINT_CHANNEL, changed)
  }

  keyColumns(relation: Relation): readonly number[] {
    return this.#rows.of(relation).keyColumns
  }

  async write(batch: SinkBatch): Promise<SinkResult> {
    let care = false
    for (let attempt = 1; ; attempt++) {
      // what earlier parts have written can only be lost together with this one
      const isPart = this.#open !== null || batch.part !== 'whole'
      try {
        return await this.#writeOnce(batch, care || isPart)
      } catch (error) {
        this.#open = null
        this.#rows.rolledBack()
        // a lost connection has rolled back by itself
        await this.#client.query('rollback').catch(() => undefined)
        if (batch.work.kind === 'converge' && sqlstate(error) === '23505') return { kind: 'conflict' }
        if (!isPart && !care && batch.work.kind === 'exact' && isOutOfOrder(error)) {
          care = true
          continue
        }
        // a second leg in between: deadlock or serialization; the whole batch again
        const again = !isPart && ['40P01', '40001'].includes(sqlstate(error)) && attempt < 5
        if (!again) throw failure(error, this.#login)
      }
    }
  }

  async #writeOnce(batch: SinkBatch, care: boolean): Promise<SinkResult> {
    const { work, part } = batch
    if (work.kind === 'none' && batch.touched.length === 0 && this.#open === null) {
      return (await this.#move(batch, batch.to, false)) ? NOTHING : { kind: 'changed' }
    }
    const ends = part === 'whole' || part === 'last'
    if (this.#open === null) {
      const refusal = await this.#begin(batch, ends)
      if (refusal !== null) return refusal
    } else if (ends) {
      if (!(await this.#move(batch, batch.to, false)))
        throw new MigrateError('INTERNAL', { reason: 'a locked checkpoint has moved' })
    }
    await this.#failpoint('after-checkpoint')
    // only where second legs write: in the monolith's database nobody's session is ever ended
    const legs = this.#options.direction === 'forward' && work.kind !== 'none' && batch.from.hold
    const watch = legs ? this.#watch(batch.from.graceMs) : null
    try {
      const result = await this.#work(batch, care)
      if (!ends) return result
      this.#rows.stash.throwIfAny()
      await this.#failpoint('before-commit')
      await this.#client.query('commit')
      this.#open = null
      return result
    } finally {
      clearInterval(watch ?? undefined)
    }
  }

  /** Begins the transaction of a batch, with the checkpoint as its first statement. Else: why nothing was begun. */
  async #begin(batch: SinkBatch, ends: boolean): Promise<SinkResult | null> {
    const { work, from } = batch
    const later = batch.durable ? '' : '; set local synchronous_commit = off'
    await this.#rows.begin()
    await this.#client.query(`begin; set constraints all deferred${later}`)
    const moved = await this.#move(batch, ends ? batch.to : from.commitLsn, work.kind !== 'none')
    const allowed = moved && work.kind !== 'none' ? await this.#authority(from) : 'yes'
    if (moved && allowed === 'yes') {
      if (!ends) this.#open = new Map()
      return null
    }
    await this.#client.query('rollback')
    if (moved && allowed === 'wait') return { kind: 'forbidden' }
    if (moved) await discardFrom(this.#client, this.#options.pipeline, from)
    return { kind: 'changed' }
  }

  async #move(batch: SinkBatch, to: Lsn, mark: boolean): Promise<boolean> {
    return await moveCheckpoint(this.#client, this.#options, batch, { to, mark })
  }

  async #authority(from: Checkpoint): Promise<'yes' | 'wait' | 'no'> {
    const { direction, service } = this.#options
    return direction === 'forward' ? 'yes' : await authorityAllows(this.#client, service, from)
  }

  async #failpoint(name: string): Promise<void> {
    await this.#options.failpoint?.(`sync.${this.#options.direction}.${name}`)
  }

  async #work(batch: SinkBatch, care: boolean): Promise<SinkResult> {
    await this.#touch(batch)
    const { work } = batch
    if (work.kind === 'none') return NOTHING
    await this.#revoke(work.revoke)
    switch (work.kind) {
      case 'exact':
        await (care ? applyWithCare : applyTogether)(this.#rows, work.transactions)
        return { ...NOTHING, rows: changesIn(work.transactions) }
      case 'replay': {
        const extra = await this.#remove(work.extra)
        const missing = this.#open ?? new Map<string, RowWrite>()
        const rivals = await replay(this.#rows, work.transactions, missing)
        const ends = batch.part === 'whole' || batch.part === 'last'
        const owed = ends ? [...missing.values()] : []
        return { ...NOTHING, rows: changesIn(work.transactions), extra, rivals, missing: owed }
      }
      case 'converge': {
        const extra = await this.#remove(work.extra)
        const outcomes: WriteOutcome[] = []
        for (const write of work.writes) outcomes.push(await converge(this.#rows, write))
        const missing = work.writes.filter((_, i) => outcomes[i] === 'missing')
        return { ...NOTHING, rows: outcomes.length, outcomes, missing, extra }
      }
    }
  }

  async #remove(extra: readonly RowName[]): Promise<number> {
    let removed = 0
    for (const { relation, key } of extra) removed += await this.#rows.run(this.#rows.of(relation).extra(key))
    return removed
  }

  /** Keys first and in order, before any row: a leg that comes later finds its key taken. */
  async #revoke(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    await this.#client.query(
      `insert into migrate.seen (key, service, by) select k, $2, 'sink' from unnest($1::uuid[]) k order by k
       on conflict do nothing`,
      [keys, this.#options.service],
    )
  }

  async #touch(batch: SinkBatch): Promise<void> {
    if (batch.touched.length === 0) return
    if (batch.note === true) await noteKeys(this.#client, this.#options.pipeline, batch.touched)
    if (batch.from.tracking === null) return
    await this.#client.query(
      `insert into migrate.touched (pipeline, tracking, relation, key)
       select $1, $2, r, k from unnest($3::text[], $4::jsonb[]) as t(r, k) on conflict do nothing`,
      [
        this.#options.pipeline,
        batch.from.tracking,
        batch.touched.map(({ relation }) => `${relation.schema}.${relation.name}`),
        batch.touched.map(({ key }) => JSON.stringify(keyAsJson(key))),
      ],
    )
  }

  /** Ends the sessions that block this one for longer than the grace: legs beyond their deadline. */
  #watch(graceMs: number): NodeJS.Timeout {
    const every = graceMs === 0 ? 200 : PATIENCE
    return setInterval(() => {
      this.#options.database
        .query(`select pg_terminate_backend(pid) from unnest(pg_blocking_pids($1)) as pid where pid <> 0`, [this.#pid])
        // without the right to end them they end by idle_in_transaction_session_timeout
        .catch(() => undefined)
    }, every)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listening?.[Symbol.asyncDispose]()
    await this.#client.end().catch(() => undefined)
  }
}

const NOTHING: Written = { kind: 'written', rows: 0, outcomes: [], missing: [], extra: 0, rivals: 0 }

function changesIn(transactions: readonly RawTransaction[]): number {
  return transactions.reduce((sum, { size }) => sum + size, 0)
}

/** A lock of somebody else is a matter of time: the worker goes on when it is gone. */
function failure(error: unknown, login: { role: string; address: string }): MigrateError {
  if (sqlstate(error) !== '57014') return translate(error, login)
  return new MigrateError(
    'DATABASE_UNREACHABLE',
    { ...login, reason: 'a row stayed locked for too long' },
    { cause: error },
  )
}
