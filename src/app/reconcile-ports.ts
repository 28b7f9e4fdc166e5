import { serviceOf } from '../config/service.ts'
import { readProgress } from '../control/progress.ts'
import { MigrateError } from '../errors.ts'
import type { Direction } from '../model/progress.ts'
import type { Database } from '../model/sql.ts'
import type { Side } from '../model/stage.ts'
import type { ComparedTable, ReconcilePorts } from '../reconcile/ports.ts'
import { rangeRowsFor } from '../reconcile/ranges.ts'
import type { TableInfo } from '../stores/postgres/catalogue.ts'
import { readCheckpoint } from '../stores/postgres/checkpoint.ts'
import { openDatabase } from '../stores/postgres/database.ts'
import { readAuthority } from '../stores/postgres/fence.ts'
import { keyOrder } from '../stores/postgres/key-order.ts'
import { emitFence, fencePassed } from '../stores/postgres/pass-fence.ts'
import { rangeBounds, tableSize } from '../stores/postgres/range-bounds.ts'
import { tableSide } from '../stores/postgres/range-digest.ts'
import { comparedColumns } from '../stores/postgres/row-hash.ts'
import { type App, namesOf, storeUrl } from './open.ts'
import { sourcePosition } from './pipeline.ts'
import { readTables } from './tables.ts'

/** What a comparison asks of the real databases. `side` has the authority. */
export function reconcilePorts(app: App, name: string, side: Side): ReconcilePorts {
  const names = namesOf(app.config, name)
  const direction: Direction = side === 'monolith' ? 'forward' : 'reverse'
  const [source, target, pipeline] =
    direction === 'forward'
      ? [app.monolith, app.service(name), names.forward]
      : [app.service(name), app.monolith, names.reverse]
  let wayBack: { readonly fence: bigint; readonly at: bigint } | null = null
  return {
    authority: () => readAuthority(app.monolith, name),
    position: () => sourcePosition(app, name, direction),
    async fence() {
      const fence = await emitFence(source, name)
      if (direction === 'forward') wayBack = { fence, at: await emitFence(target, name) }
      return fence
    },
    async passed(fence) {
      const forward = await fencePassed(target, pipeline, fence)
      if (forward !== 'passed' || wayBack?.fence !== fence) return forward
      // in dual-write: what second legs have made and the monolith lacks is removed before reverse passes it
      return (await legsSettled(app, name, wayBack.at)) ? 'passed' : 'waiting'
    },
    async workerAge() {
      const progress = await readProgress(app.control, name, direction)
      return progress?.phase === 'streaming' && progress.state === 'apply' ? progress.age : null
    },
  }
}

async function legsSettled(app: App, name: string, fence: bigint): Promise<boolean> {
  const names = namesOf(app.config, name)
  if ((await readCheckpoint(app.service(name), names.forward))?.hold !== true) return true
  const reverse = await readCheckpoint(app.monolith, names.reverse)
  return reverse === null || reverse.commitLsn >= fence
}

/** Databases for comparing, one connection a side. Close them. */
export function openSides(app: App, name: string): Record<Side, Database> & AsyncDisposable {
  const open = (url: string, role: string): Database =>
    openDatabase({
      ...{ url, role, applicationName: `migrate/reconcile/${name}`.slice(0, 63), connections: 1 },
      // a migration of the application that wants a table's lock waits for our statement, and everybody behind it
      statementTimeout: 20_000,
      settings: { lock_timeout: '2s', jit: 'off', default_transaction_read_only: 'on', lc_monetary: 'C' },
    })
  const monolith = open(app.config.monolith.database, 'monolith')
  const service = open(storeUrl(serviceOf(app.config, name)), name)
  return {
    monolith,
    service,
    async [Symbol.asyncDispose]() {
      await Promise.all([monolith[Symbol.asyncDispose](), service[Symbol.asyncDispose]()])
    },
  }
}

/** The service's tables with both sides. Throws TARGET_SCHEMA where they cannot be compared. */
export async function comparedTables(
  app: App,
  name: string,
  sides: Record<Side, Database>,
  options: { readonly authority: Side; readonly rangeRows: number | undefined },
): Promise<ComparedTable[]> {
  const config = serviceOf(app.config, name)
  const [monolith, service] = await Promise.all([
    readTables(sides.monolith, name, config),
    readTables(sides.service, name, config),
  ])
  return Promise.all(
    monolith.map(async (table, i) => {
      const other = service[i] as TableInfo
      const columns = requireSame(table, other, name)
      const left = { sql: sides.monolith, table }
      const right = { sql: sides.service, table: other }
      const order = await keyOrder(left, right)
      const both = {
        monolith: tableSide({ ...left, columns, order }),
        service: tableSide({ ...right, columns, order }),
      }
      const source = options.authority === 'monolith' ? left : right
      const rangeRows = options.rangeRows ?? rangeRowsFor(await tableSize(source.sql, source.table))
      return {
        relation: `${table.schema}.${table.name}`,
        columns,
        signature: JSON.stringify({ key: table.primaryKey, order, columns }),
        rangeRows,
        bounds: (signal: AbortSignal) => rangeBounds(source.sql, source.table, order, rangeRows, signal),
        authority: both[options.authority],
        copy: both[options.authority === 'monolith' ? 'service' : 'monolith'],
      }
    }),
  )
}

/** The columns to compare, in the monolith's order. */
function requireSame(table: TableInfo, other: TableInfo, service: string): string[] {
  const columns = comparedColumns(table)
  const missing = columns.find((name) => !other.columns.some((column) => column.name === name))
  const difference =
    missing !== undefined
      ? `column ${missing} is missing`
      : table.primaryKey.length === 0 || table.primaryKey.join() !== other.primaryKey.join()
        ? 'its primary key is not the same'
        : null
  if (difference === null) return columns
  throw new MigrateError('TARGET_SCHEMA', { table: `${table.schema}.${table.name}`, service, difference })
}
