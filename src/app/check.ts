import type { Config } from '../config/schema.ts'
import type { Sql } from '../model/sql.ts'
import type { Severity } from '../stores/postgres/checks/check.ts'
import { CHECKS } from '../stores/postgres/checks/index.ts'
import { type DatabaseOptions, openDatabase } from '../stores/postgres/database.ts'
import { parseLogin } from '../stores/postgres/login.ts'
import { type Finding, preflight } from '../stores/postgres/preflight.ts'
import { preflightOptions } from './preflight-options.ts'

export interface CheckReport {
  readonly services: readonly string[]
  readonly sides: readonly CheckedSide[]
}

/** One database, and what was found in it. */
export interface CheckedSide {
  readonly name: string
  /** host:port/database */
  readonly address: string
  readonly systemIdentifier: string
  readonly version: string
  readonly database: string
  readonly user: string
  /** errors first; each once, whichever service it was found for */
  readonly findings: readonly Finding[]
}

/** The ids of all checks. */
export const CHECK_IDS: readonly string[] = CHECKS.map(({ id }) => id)

/** Runs every check for these services in sessions that cannot write. Throws DATABASE_* and SERVICE_UNKNOWN. */
export async function checkServices(config: Config, names: readonly string[]): Promise<CheckReport> {
  await using stack = new AsyncDisposableStack()
  const opened = new Map<string, Sql>()
  const open = (connection: DatabaseOptions) => {
    let sql = opened.get(connection.role)
    if (sql === undefined) {
      sql = stack.use(openDatabase({ ...connection, connections: 1, statementTimeout: 10_000, settings: READ_ONLY }))
      opened.set(connection.role, sql)
    }
    return { sql, connection }
  }
  const sides = new Map<string, CheckedSide>()
  for (const name of names) {
    const { connections, ...options } = preflightOptions(config, name, 'check')
    const result = await preflight({
      ...options,
      monolith: open(connections.monolith),
      target: open(connections.target),
    })
    for (const connection of [connections.monolith, connections.target]) {
      const server = result.sides.find((side) => side.name === connection.role)?.server
      const before = sides.get(connection.role)
      const found = result.findings.filter(({ side }) => side === connection.role)
      sides.set(connection.role, {
        name: connection.role,
        address: parseLogin(connection.url, connection.role).address,
        systemIdentifier: server?.systemIdentifier ?? '',
        version: server?.versionText ?? '',
        database: server?.database ?? '',
        user: server?.user ?? '',
        findings: merged([...(before?.findings ?? []), ...found]),
      })
    }
  }
  return { services: names, sides: [...sides.values()] }
}

const READ_ONLY = { default_transaction_read_only: 'on', lock_timeout: '200ms' }

const ORDER: Record<Severity, number> = { error: 0, warning: 1, info: 2 }

/** The monolith's findings of several services: what is said twice stays once, errors come first. */
function merged(findings: readonly Finding[]): Finding[] {
  const once = new Map(findings.map((finding) => [`${finding.check} ${finding.message}`, finding]))
  return [...once.values()].sort(
    (a, b) => ORDER[a.severity] - ORDER[b.severity] || CHECK_IDS.indexOf(a.check) - CHECK_IDS.indexOf(b.check),
  )
}
