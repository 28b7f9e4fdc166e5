import { MigrateError } from '../errors.ts'
import type { Database, Sql } from '../model/sql.ts'
import { isStage, legalMoves, STAGE_RULES, type Stage } from '../model/stage.ts'

/** The row of one service in the control database. */
export interface ServiceState {
  readonly service: string
  readonly stage: Stage
  readonly percent: number
  readonly legs: boolean
  readonly holdRun: number | null
  readonly version: number
}

/** What a change sets; what is left out stays. */
export interface ServiceChange {
  readonly stage?: Stage
  readonly percent?: number
  readonly legs?: boolean
  /** routers hold new writes for this run, at most for so many milliseconds; null ends the hold */
  readonly hold?: { readonly run: number; readonly milliseconds: number } | null
}

export interface Audit {
  readonly who: string
  readonly action: string
  readonly reason?: string
}

export const POLICY_CHANNEL = 'migrate_policy'

/** The service's row; a service that has never been touched is at stage off. */
export async function readService(sql: Sql, service: string): Promise<ServiceState> {
  const { rows } = await sql.query<Row>(`${SELECT} where service = $1`, [service])
  const row = rows[0]
  return row === undefined
    ? { service, stage: 'off', percent: 0, legs: false, holdRun: null, version: 0 }
    : fromRow(row)
}

/** The version that a router obeys which has seen every change. */
export async function newestVersion(sql: Sql): Promise<number> {
  const { rows } = await sql.query<{ version: number }>(
    `select coalesce(max(version), 0)::float8 as version from migrate.service`,
  )
  return rows[0]?.version ?? 0
}

/** The stages of all services that were ever touched. */
export async function readStages(sql: Sql): Promise<Map<string, Stage>> {
  const { rows } = await sql.query<Row>(SELECT)
  return new Map(rows.map(fromRow).map(({ service, stage }) => [service, stage]))
}

/**
 * Changes a service's row if its stage is still `expected`, with one audit row, and tells the routers.
 * Returns the new version of the policy. Throws STAGE_ILLEGAL when the stage is another or the jump is not allowed,
 * TAKEN_OVER when a run with a higher fencing token than `run` has been here.
 */
export async function changeService(
  database: Database,
  service: string,
  expected: Stage,
  change: ServiceChange,
  audit: Audit,
  run?: number,
): Promise<number> {
  return database.transaction(async (sql) => {
    // versions must become visible in their order: a router that has seen 7 has seen 6
    await sql.query(`select pg_advisory_xact_lock(1835623285)`)
    await sql.query(`insert into migrate.service (service) values ($1) on conflict do nothing`, [service])
    await fenceRun(sql, service, run)
    const before = await readService(sql, service)
    const to = change.stage ?? before.stage
    if (before.stage !== expected || (to !== before.stage && !legalMoves(before.stage).includes(to))) {
      throw illegal(service, before.stage, to)
    }
    const { rows } = await sql.query<Row>(
      `update migrate.service set stage = $2, percent = $3, legs = $4,
         hold_run = case when $5 then $6::bigint else hold_run end,
         hold_until = case when $5 then clock_timestamp() + $7 * interval '1 millisecond' else hold_until end,
         version = nextval('migrate.policy_version'), updated_at = clock_timestamp()
       where service = $1 returning ${COLUMNS}`,
      [
        service,
        to,
        change.percent ?? before.percent,
        change.legs ?? before.legs,
        change.hold !== undefined,
        change.hold?.run ?? null,
        change.hold?.milliseconds ?? null,
      ],
    )
    const after = fromRow(rows[0] as Row)
    await sql.query(
      `insert into migrate.audit (who, service, action, before, after, reason) values ($1, $2, $3, $4, $5, $6)`,
      [audit.who, service, audit.action, JSON.stringify(before), JSON.stringify(after), audit.reason ?? null],
    )
    await sql.query(`select pg_notify('${POLICY_CHANNEL}', $1)`, [String(after.version)])
    return after.version
  })
}

/** Every change of a run carries its fencing token; what an older run still sends changes nothing. */
async function fenceRun(sql: Sql, service: string, run: number | undefined): Promise<void> {
  if (run === undefined) return
  const { rowCount } = await sql.query(`update migrate.service set run = $2 where service = $1 and run <= $2`, [
    service,
    run,
  ])
  if (rowCount !== 1) throw new MigrateError('TAKEN_OVER', { what: `the move of ${service}` })
}

export function illegal(service: string, from: Stage, to: Stage): MigrateError {
  const legal = legalMoves(from)
  const next = STAGE_RULES[from].nextCommand
  return new MigrateError('STAGE_ILLEGAL', {
    service,
    from,
    to,
    legal: legal.length === 0 ? 'nothing' : legal.join(', '),
    next: next === null ? 'status' : next === 'route set' ? `${next} ${service} --percent 25` : `${next} ${service}`,
  })
}

const COLUMNS = `service, stage, percent::float8 as percent, legs, hold_run::float8 as hold_run, version::float8 as version`
const SELECT = `select ${COLUMNS} from migrate.service`

interface Row {
  readonly service: string
  readonly stage: string
  readonly percent: number
  readonly legs: boolean
  readonly hold_run: number | null
  readonly version: number
}

function fromRow(row: Row): ServiceState {
  if (!isStage(row.stage)) {
    throw new MigrateError('CONTROL_DAMAGED', { found: row.stage, what: 'stage', service: row.service })
  }
  return {
    service: row.service,
    stage: row.stage,
    percent: row.percent,
    legs: row.legs,
    holdRun: row.hold_run,
    version: row.version,
  }
}
