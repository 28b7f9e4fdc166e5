import type { TransactionClient } from '../model/service-database.ts'
import { inTransaction } from '../transaction.ts'
import type { EventDefinitions, EventOf, StoredEvent } from './define.ts'
import type { EventStore } from './store.ts'
import { subscribe, type SubscriptionOptions } from './subscribe.ts'
import { MigrateError } from '../errors.ts'

/**
 * A table made from events. Readers use the view `name`; the rows are in the table `name_v<version>`. A new version is
 * built beside the old one from all events, and the view goes over to it once it has caught up.
 */
export interface Projection<Definitions extends EventDefinitions> {
  /** lower case letters, digits and _; may have a schema in front: `reports.order_totals` */
  readonly name: string
  /** 1, 2, …: another one whenever the table or what is written to it changes */
  readonly version: number
  /** Creates the table of that name, which is quoted already. */
  readonly create: (tx: TransactionClient, table: string) => Promise<void>
  readonly apply: (tx: TransactionClient, events: StoredEvent<EventOf<Definitions>>[], table: string) => Promise<void>
}

export type ProjectionOptions<Definitions extends EventDefinitions> = Pick<
  SubscriptionOptions<Definitions>,
  'signal' | 'batch' | 'poll' | 'onHorizon' | 'horizonLimit' | 'onRetry' | 'failpoint'
> & {
  /** the view shows this version now */
  readonly onLive?: () => void
}

/** Builds the projection and follows, rows and checkpoint in one transaction. Resolves when the signal aborts. */
export async function runProjection<Definitions extends EventDefinitions>(
  store: EventStore<Definitions>,
  projection: Projection<Definitions>,
  options: ProjectionOptions<Definitions>,
): Promise<void> {
  const { name, version, create, apply } = projection
  if (!NAME.test(name) || !Number.isSafeInteger(version) || version < 1)
    throw new MigrateError('PROJECTION_NAME', { name, version })
  const table = `${name}_v${version}`
  await inTransaction(store.pool, (tx) => prepare(tx, table, create))
  let live = false
  await subscribe(store, {
    ...options,
    name: table,
    handle: (tx, events) => apply(tx, events, table),
    async onCaughtUp() {
      if (live) return
      await inTransaction(store.pool, (tx) => show(tx, name, version))
      live = true
      options.onLive?.()
    },
  })
}

// PostgreSQL cuts names off after 63 characters, and the version comes behind it
const NAME = /^([a-z_][a-z0-9_]{0,49}\.)?[a-z_][a-z0-9_]{0,49}$/

async function prepare(tx: TransactionClient, table: string, create: Projection<never>['create']): Promise<void> {
  // two processes may start at once
  await tx.query(`select pg_advisory_xact_lock(hashtextextended('eventing.projection', 0))`)
  const { rows } = await tx.query(`select from eventing.checkpoint where name = $1`, [table])
  if (rows.length > 0) return
  await create(tx, table)
  await tx.query(`insert into eventing.checkpoint (name, projection_table) values ($1, $1)`, [table])
}

/** The view over this version, unless a newer one is shown: an old process may still be running. */
async function show(tx: TransactionClient, name: string, version: number): Promise<void> {
  await tx.query(`select pg_advisory_xact_lock(hashtextextended('eventing.projection', 0))`)
  // it may be a word of SQL: order
  const view = name.replaceAll(/\w+/g, '"$&"')
  const { rows } = await tx.query(`select obj_description(to_regclass($1), 'pg_class') as shown`, [view])
  const shown = Number(/^version (\d+)$/.exec((rows[0] as { shown: string | null }).shown ?? '')?.[1] ?? 0)
  if (shown >= version) return
  // the columns of another version may be others, which "create or replace" refuses
  await tx.query(`drop view if exists ${view}`)
  await tx.query(`create view ${view} as select * from ${name}_v${version}`)
  await tx.query(`comment on view ${view} is 'version ${version}'`)
}
