import { MigrateError } from '../errors.ts'
import { UUID } from '../events/encode.ts'
import type { TransactionClient } from '../model/service-database.ts'
import type { AnySaga, StepKind } from './definition.ts'
import type { Failure, JournalRow, SagaStatus } from './entry.ts'
import { readJournals } from './journal.ts'

/** A saga as operators see it. */
export interface SagaRow {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly status: SagaStatus
  /** STRANDED: it is due, and no living process has its definition */
  readonly stranded: boolean
  /** where it is, or was when it ended or got stuck */
  readonly step: string | null
  readonly waiting: 'lock' | 'reply' | 'retry' | null
  readonly seq: number
  readonly epoch: string
  readonly deaths: number
  /** null = nobody works on it now; of a STRANDED one, who did when it was killed */
  readonly host: string | null
  /** why it goes back, or is stuck */
  readonly failure: Failure | null
  /** of its last commit, while it is open: a compensation that is stuck has another one than `failure` */
  readonly lastError: Failure | null
  /** ISO 8601 */
  readonly startedAt: string
  readonly endedAt: string | null
  readonly dueAt: string | null
  readonly deadline: string | null
  /** seconds since it was started, to its end when it has one */
  readonly seconds: number
}

/** There is nobody to move the saga `s` on: no living worker has it, or its version. */
export const STRANDED = `(s.ended_at is null and s.status <> 'STUCK' and not exists (
  select from eventing.saga_worker o where o.id = s.owner and o.lease_until > clock_timestamp()) and not exists (
  select from eventing.saga_worker w, unnest(w.names, w.versions) as d (name, version)
  where w.lease_until > clock_timestamp() and d.name = s.name and d.version = s.version))`

const LAST_ERROR = `(select coalesce(e.entry -> 'failure', (e.entry -> 'error') || jsonb_build_object('step', e.entry -> 'step'))
  from eventing.saga_journal j, jsonb_array_elements(j.entries) with ordinality as e (entry, n)
  where s.ended_at is null and j.saga_id = s.id and j.seq = s.seq and (e.entry ? 'failure' or e.entry ? 'error')
  order by e.n desc limit 1)`

const COLUMNS = `s.id, s.name, s.version, s.status, ${STRANDED} as stranded, s.step, s.waiting, s.seq, s.epoch::text, s.deaths,
  (select w.host from eventing.saga_worker w where w.id = s.owner) as host, s.failure, ${LAST_ERROR} as "lastError",
  ${iso('s.started_at')} as "startedAt", ${iso('s.ended_at')} as "endedAt", ${iso('s.due_at')} as "dueAt",
  ${iso('s.deadline')} as deadline,
  extract(epoch from coalesce(s.ended_at, clock_timestamp()) - s.started_at)::float8 as seconds`

function iso(column: string): string {
  return `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}

export interface ListOptions {
  /** null = any; STRANDED is one of its own */
  readonly statuses: readonly string[] | null
  readonly name: string | null
  readonly limit: number
}

/** The newest first. */
export async function listSagas(client: TransactionClient, { statuses, name, limit }: ListOptions): Promise<SagaRow[]> {
  const { rows } = await client.query(
    `select ${COLUMNS} from eventing.saga s
     where ($1::text[] is null or s.status = any ($1) or 'STRANDED' = any ($1) and ${STRANDED})
       and ($2::text is null or s.name = $2)
     order by s.started_at desc, s.id limit $3`,
    [statuses, name, limit],
  )
  return rows as SagaRow[]
}

/** One saga with all that is known of it. */
export interface SagaDetails extends SagaRow {
  readonly input: unknown
  readonly traceparent: string | null
  readonly journal: readonly JournalRow[]
  readonly steps: readonly ShapedStep[]
  /** targets, and how many are before it at each; 0 = it holds it */
  readonly locks: readonly { readonly target: string; readonly before: number }[]
}

/** A step as its definition was registered. */
export interface ShapedStep {
  readonly name: string
  readonly kind: StepKind
  readonly by: 'call' | 'local' | 'command'
  readonly compensated: boolean
  /** steps of one group run at the same time */
  readonly group: number
}

/** The id may be shortened, as long as it is the only one. Throws SAGA_UNKNOWN, SAGA_AMBIGUOUS. */
export async function showSaga(client: TransactionClient, service: string, prefix: string): Promise<SagaDetails> {
  const id = await findSaga(client, service, prefix)
  const { rows } = await client.query(
    `select ${COLUMNS}, s.input, s.traceparent, coalesce(d.shape -> 'groups', '[]') as groups
     from eventing.saga s left join eventing.saga_definition d using (name, version) where s.id = $1`,
    [id],
  )
  const { groups, ...saga } = rows[0] as SagaDetails & { groups: Omit<ShapedStep, 'group'>[][] }
  const journals = await readJournals(client, [id])
  const locks = await client.query(
    `select l.target, (select count(*)::int from eventing.saga_lock o where o.target = l.target and o.ticket < l.ticket) as before
     from eventing.saga_lock l where l.saga_id = $1 order by l.target`,
    [id],
  )
  const steps = groups.flatMap((group, n) => group.map((step) => ({ ...step, group: n })))
  return { ...saga, steps, journal: journals.get(id) ?? [], locks: locks.rows as SagaDetails['locks'] }
}

async function findSaga(client: TransactionClient, service: string, prefix: string): Promise<string> {
  const unknown = new MigrateError('SAGA_UNKNOWN', { saga: prefix, service })
  const start = prefix.toLowerCase()
  if (start.length < 4 || !UUID.test(start + SHAPE.slice(start.length))) throw unknown
  // by the key: sagas are many, and `--watch` looks often
  const { rows } = await client.query(`select id from eventing.saga where id between $1 and $2 limit 2`, [
    start + SHAPE.slice(start.length),
    start + SHAPE.slice(start.length).replaceAll('0', 'f'),
  ])
  const [found, another] = rows as { id: string }[]
  if (found === undefined) throw unknown
  if (another !== undefined)
    throw new MigrateError('SAGA_AMBIGUOUS', { saga: prefix, one: found.id, other: another.id })
  return found.id
}

const SHAPE = '00000000-0000-0000-0000-000000000000'

/** Enough of a definition to tell where a saga is: its functions are in other processes. */
export function definitionOf({ name, version, steps }: Pick<SagaDetails, 'name' | 'version' | 'steps'>): AnySaga {
  const groups = [...new Set(steps.map(({ group }) => group))].map((group) => ({
    concurrency: 1,
    steps: steps
      .filter((step) => step.group === group)
      .map((step) => ({
        ...{ name: step.name, kind: step.kind },
        action: { by: 'local' as const, execute: NOBODY, compensate: step.compensated ? NOBODY : null },
      })),
  }))
  return { name, version, groups, deadline: null, locks: null, replyTo: null, input: null }
}

const NOBODY = (): Promise<never> => Promise.reject(new Error('this process does not run sagas'))

/** A ticket for a target, the first of each target first. */
export interface LockRow {
  readonly target: string
  readonly saga: string
  readonly name: string | null
  readonly status: SagaStatus | null
  /** 0 = it holds the target */
  readonly before: number
  readonly since: string
}

export async function listLocks(client: TransactionClient): Promise<LockRow[]> {
  const { rows } = await client.query(
    `select l.target, l.saga_id as saga, s.name, s.status, ${iso('l.since')} as since,
       (row_number() over (partition by l.target order by l.ticket) - 1)::int as before
     from eventing.saga_lock l left join eventing.saga s on s.id = l.saga_id order by l.target, l.ticket`,
  )
  return rows as LockRow[]
}

export interface SagaStats {
  readonly sagas: readonly StatsRow[]
  readonly workers: readonly WorkerRow[]
}

export interface StatsRow {
  readonly name: string
  readonly version: number
  readonly running: number
  readonly waiting: number
  readonly compensating: number
  readonly stuck: number
  readonly stranded: number
  /** ended in the last hour */
  readonly done: number
  readonly compensated: number
  /** seconds, of those that were done in the last hour; null = none */
  readonly p50: number | null
  readonly p95: number | null
}

export interface WorkerRow {
  readonly host: string
  readonly startedAt: string
  /** seconds until it counts as dead */
  readonly lease: number
  readonly sagas: number
  readonly definitions: readonly string[]
}

export async function readStats(client: TransactionClient): Promise<SagaStats> {
  const ended = `filter (where s.status = 'DONE')`
  const time = `extract(epoch from s.ended_at - s.started_at)::float8`
  const { rows } = await client.query(
    `select s.name, s.version, count(*) filter (where s.status = 'RUNNING')::int as running,
       count(*) filter (where s.waiting is not null and s.ended_at is null)::int as waiting,
       count(*) filter (where s.status = 'COMPENSATING')::int as compensating,
       count(*) filter (where s.status = 'STUCK')::int as stuck, count(*) filter (where ${STRANDED})::int as stranded,
       count(*) ${ended}::int as done, count(*) filter (where s.status = 'COMPENSATED')::int as compensated,
       percentile_disc(0.5) within group (order by ${time}) ${ended} as p50,
       percentile_disc(0.95) within group (order by ${time}) ${ended} as p95
     from eventing.saga s where s.ended_at is null or s.ended_at > clock_timestamp() - interval '1 hour'
     group by 1, 2 order by 1, 2`,
  )
  const workers = await client.query(
    `select w.host, ${iso('w.started_at')} as "startedAt",
       extract(epoch from w.lease_until - clock_timestamp())::float8 as lease,
       (select count(*)::int from eventing.saga s where s.owner = w.id) as sagas,
       (select array_agg(d.name || '/' || d.version order by 1) from unnest(w.names, w.versions) as d (name, version)) as definitions
     from eventing.saga_worker w order by w.id`,
  )
  return { sagas: rows as StatsRow[], workers: workers.rows as WorkerRow[] }
}
