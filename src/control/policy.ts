import { MigrateError } from '../errors.ts'
import { asLsn } from '../model/lsn.ts'
import type { PolicySet, ServicePolicy, WriteAuthority } from '../model/policy.ts'
import type { Database, Sql } from '../model/sql.ts'
import { isStage } from '../model/stage.ts'
import { ROUTER_SILENCE } from '../cutover/limits.ts'
import type { RouterControl, RouterReport } from '../router/control.ts'
import { POLICY_CHANNEL } from './services.ts'

/** The router's view of the control database; `monolith` holds the authority rows, `control` the rest. */
export function routerControl(control: Database, monolith: Database): RouterControl & AsyncDisposable {
  const listeners = new Set<() => void>()
  const listening = control.listen(POLICY_CHANNEL, () => {
    for (const changed of listeners) changed()
  })
  return {
    readPolicy: () => readPolicy(control, monolith),
    readAuthority: control === monolith ? null : () => readAuthorities(monolith),
    onChange: (changed) => listeners.add(changed),
    report: (report) => writeReport(control, report),
    position: async () => {
      const { rows } = await monolith.query<{ at: string }>(`select (pg_current_wal_insert_lsn() - '0/0')::text as at`)
      return asLsn(BigInt(rows[0]?.at ?? '0'))
    },
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  }
}

interface ControlRow {
  readonly service: string
  readonly stage: string
  readonly percent: number
  readonly legs: boolean
  readonly holdRun: number | null
  readonly holdLeftMs: number | null
  readonly version: number
  readonly halted: readonly string[]
  readonly applied: string | null
  readonly laggards: number
}

interface AuthorityRow {
  readonly service: string
  readonly epoch: number
  readonly state: 'monolith' | 'service'
  readonly fence: 'open' | 'closed' | 'expired'
  readonly fenceRun: number
}

// A router that is silent for longer has died, or is cut off: one that still runs serves old reads then, however long
// the others wait, and its writes meet the gate.
const CONTROL = `
  select s.service, s.stage, s.percent::float8 as percent, s.legs, s.hold_run::float8 as "holdRun",
    extract(epoch from s.hold_until - clock_timestamp())::float8 * 1000 as "holdLeftMs", s.version::float8 as version,
    coalesce((select json_agg(distinct d.route) from migrate.dead_letter d
      where d.service = s.service and d.state = 'open' and d.code = 'ID_NOT_KEPT'), '[]') as halted,
    (select (p.applied - '0/0')::text from migrate.progress p
      where p.service = s.service and p.direction = 'forward') as applied,
    (select count(*)::int from migrate.router r
      where r.seen_at > clock_timestamp() - ${ROUTER_SILENCE} * interval '1 second'
        and r.version < (select max(version) from migrate.service)) as laggards
  from migrate.service s`

// The fence is judged by the time before the snapshot: one that was over by then has no switch that this snapshot lacks.
const AUTHORITY = `
  select service, epoch::float8 as epoch, state, run::float8 as "fenceRun",
    case when v = 0 then 'open'
      when v < 9223372036854775807 and v <= extract(epoch from statement_timestamp()) * 1000000 then 'expired'
      else 'closed' end as fence
  from (select a.*, f.run, migrate.fence_value(service) as v from migrate.authority a join migrate.fence f using (service)) a`

async function readPolicy(control: Database, monolith: Database): Promise<PolicySet> {
  // two databases: the authority last, so that it is never older than the stage that it is compared with
  const [rows, authority] =
    control === monolith ? await readTogether(control) : [await readRows(control), await readAuthority(monolith)]
  const services = new Map<string, ServicePolicy>()
  for (const row of rows) {
    const who = authority.find((a) => a.service === row.service)
    if (who !== undefined) services.set(row.service, toPolicy(row, who))
  }
  return {
    version: Math.max(0, ...rows.map((row) => row.version)),
    services,
    laggards: rows[0]?.laggards ?? 0,
  }
}

async function readAuthorities(monolith: Sql): Promise<ReadonlyMap<string, WriteAuthority>> {
  return new Map((await readAuthority(monolith)).map((row) => [row.service, toAuthority(row)]))
}

async function readTogether(sql: Sql): Promise<[ControlRow[], AuthorityRow[]]> {
  const { rows } = await sql.query<{ control: ControlRow[]; authority: AuthorityRow[] }>(
    `select coalesce((select json_agg(c) from (${CONTROL}) c), '[]') as control,
            coalesce((select json_agg(a) from (${AUTHORITY}) a), '[]') as authority`,
  )
  return [rows[0]?.control ?? [], rows[0]?.authority ?? []]
}

async function readRows(sql: Sql): Promise<ControlRow[]> {
  return (await sql.query<ControlRow>(CONTROL)).rows
}

async function readAuthority(sql: Sql): Promise<AuthorityRow[]> {
  return (await sql.query<AuthorityRow>(AUTHORITY)).rows
}

function toPolicy(row: ControlRow, who: AuthorityRow): ServicePolicy {
  if (!isStage(row.stage)) throw new MigrateError('INTERNAL', { reason: `unknown stage of ${row.service}` })
  return {
    service: row.service,
    stage: row.stage,
    percent: row.percent,
    version: row.version,
    ...toAuthority(who),
    hold: row.holdRun === null ? null : { run: row.holdRun, leftMs: row.holdLeftMs ?? 0 },
    legs: row.legs,
    halted: row.halted,
    applied: row.applied === null ? null : asLsn(BigInt(row.applied)),
  }
}

function toAuthority({ state, epoch, fence, fenceRun }: AuthorityRow): WriteAuthority {
  return { authority: { side: state, epoch }, fence, fenceRun }
}

async function writeReport(sql: Sql, report: RouterReport): Promise<void> {
  await sql.query(
    `insert into migrate.router (instance, version, services, seen_at, expires_at)
     values ($1, $2, $3, clock_timestamp(), clock_timestamp() + interval '10 seconds')
     on conflict (instance) do update set version = excluded.version, services = excluded.services,
       seen_at = excluded.seen_at, expires_at = excluded.expires_at`,
    [report.instance, report.version, JSON.stringify(report.services)],
  )
}

/** Removes the row of an instance that has drained: nobody needs to wait for its lease. */
export async function forgetRouter(sql: Sql, instance: string): Promise<void> {
  await sql.query(`delete from migrate.router where instance = $1`, [instance])
}

/** The live instances with what they have under way. */
export async function readRouters(sql: Sql) {
  const { rows } = await sql.query<{
    instance: string
    version: number
    services: RouterReport['services']
    age: number
  }>(
    `select instance, version::float8 as version, services,
       extract(epoch from clock_timestamp() - seen_at)::float8 as age
     from migrate.router where expires_at > clock_timestamp() order by instance`,
  )
  return rows
}
