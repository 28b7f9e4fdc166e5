import { hostname } from 'node:os'
import { MigrateError } from '../errors.ts'
import { pause } from '../model/pause.ts'
import type { Database } from '../model/sql.ts'

/** A lease held by this process. `epoch` is its fencing token: it grows with every new holder. */
export interface Lease extends AsyncDisposable {
  readonly name: string
  readonly epoch: number
  /** aborted when it is not held any more: TAKEN_OVER, or LEASE_LOST (with the cause) when control did not answer */
  readonly lost: AbortSignal
}

export interface LeaseOptions {
  readonly name: string
  /** seconds; default 10, renewed every 3 */
  readonly seconds?: number
  /** wait so long for a holder that has stopped renewing, milliseconds; default 15 s */
  readonly patience?: number
  readonly signal: AbortSignal
}

/** How often the holder looks whether its lease is about to run out, milliseconds. */
const WATCH = 250
/** No answer for this part of the lease's time means that the control database is away. */
const SILENCE = 0.2

/**
 * Takes the lease, waiting for a dead holder's to run out. Throws LOCKED (exit 5) when its holder lives.
 * A holder on this very machine whose process is gone is taken over at once.
 */
export async function takeLease(database: Database, options: LeaseOptions): Promise<Lease> {
  const { name, signal } = options
  const seconds = options.seconds ?? 10
  const deadline = performance.now() + (options.patience ?? 15_000)
  let renewals = 0
  let last = ''
  for (;;) {
    signal.throwIfAborted()
    const { rows } = await database.query<{ epoch: number }>(
      `insert into migrate.lease (name, epoch, holder, taken_at, renewed_at, expires_at)
       values ($1, 1, $2, clock_timestamp(), clock_timestamp(), clock_timestamp() + $3 * interval '1 second')
       on conflict (name) do update set epoch = lease.epoch + 1, holder = excluded.holder,
         taken_at = excluded.taken_at, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at
       where lease.expires_at < clock_timestamp() or lease.holder = any($4)
       returning epoch::float8 as epoch`,
      [name, holderName(), seconds, await deadHolders(database, name)],
    )
    const epoch = rows[0]?.epoch
    if (epoch !== undefined) return keep(database, name, epoch, seconds)
    const holder = await readHolder(database, name)
    if (holder === null) continue
    if (last !== '' && last !== holder.renewedAt) renewals += 1
    last = holder.renewedAt
    // one renewal while we wait proves that the holder lives
    if (renewals > 0 || performance.now() > deadline) {
      const { holder: who, since, age } = holder
      throw new MigrateError('LOCKED', { what: name, holder: who, since, seconds: age.toFixed(1) })
    }
    await pause(200, signal)
  }
}

/** Who holds the lease now; null = nobody, so that `takeLease` would get it at once. */
export async function leaseHolder(database: Database, name: string): Promise<LeaseHolder | null> {
  const holder = await readHolder(database, name)
  if (holder === null || holder.over || (await deadHolders(database, name)).length > 0) return null
  return { holder: holder.holder, since: holder.since }
}

export interface LeaseHolder {
  /** host/pid */
  readonly holder: string
  /** UTC, to the second */
  readonly since: string
}

function keep(database: Database, name: string, epoch: number, seconds: number): Lease {
  const lost = new AbortController()
  const takenOver = new MigrateError('TAKEN_OVER', { what: name })
  let renewed = performance.now()
  /** since when the control database has not answered */
  let unanswered: number | null = null
  /** why the last renewal failed; null when it did not */
  let failure: MigrateError | null = null
  const timer = setInterval(() => void renew(), (seconds * 1000) / 3.4)
  // the process may not be scheduled for longer than the lease: judge by our own clock before every use
  const watch = setInterval(() => {
    const now = performance.now()
    if (now - renewed <= seconds * 1000 - 2 * WATCH) return
    // a process that was stopped has not asked in the meantime: then it is somebody else's by now
    const silent = unanswered !== null && now - unanswered > SILENCE * seconds * 1000
    lose(silent ? new MigrateError('LEASE_LOST', { what: name, seconds }, { cause: failure }) : takenOver)
  }, WATCH)
  timer.unref()
  watch.unref()

  function lose(reason: MigrateError): void {
    clearInterval(timer)
    clearInterval(watch)
    if (!lost.signal.aborted) lost.abort(reason)
  }

  async function renew(): Promise<void> {
    const started = performance.now()
    unanswered ??= started
    try {
      const { rowCount } = await database.query(
        `update migrate.lease set renewed_at = clock_timestamp(), expires_at = clock_timestamp() + $3 * interval '1 second'
         where name = $1 and epoch = $2 and expires_at > clock_timestamp()`,
        [name, epoch, seconds],
      )
      unanswered = null
      failure = null
      if (rowCount === 1) renewed = started
      else lose(takenOver)
    } catch (error) {
      // away for a moment: the watch above ends the lease when this lasts
      if (!(error instanceof MigrateError)) throw error
      failure = error
    }
  }

  return {
    name,
    epoch,
    lost: lost.signal,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      clearInterval(watch)
      // best effort: unreachable now means that it runs out by itself
      await database
        .query(`update migrate.lease set expires_at = clock_timestamp() where name = $1 and epoch = $2`, [name, epoch])
        .catch(() => undefined)
    },
  }
}

async function readHolder(database: Database, name: string) {
  const { rows } = await database.query<{
    holder: string
    since: string
    renewedAt: string
    age: number
    over: boolean
  }>(
    `select holder, renewed_at::text as "renewedAt", expires_at < clock_timestamp() as over,
       to_char(taken_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') as since,
       extract(epoch from clock_timestamp() - renewed_at)::float8 as age
     from migrate.lease where name = $1`,
    [name],
  )
  return rows[0] ?? null
}

/** The present holder, when it is a process of this machine that no longer exists. */
async function deadHolders(database: Database, name: string): Promise<string[]> {
  const holder = await readHolder(database, name)
  if (holder === null) return []
  const [host, pid] = holder.holder.split('/')
  if (host !== hostname() || pid === undefined) return []
  try {
    process.kill(Number(pid), 0)
    return []
  } catch (error) {
    // EPERM: it lives and belongs to somebody else
    return error instanceof Error && 'code' in error && error.code === 'ESRCH' ? [holder.holder] : []
  }
}

export function holderName(): string {
  return `${hostname()}/${process.pid}`
}
