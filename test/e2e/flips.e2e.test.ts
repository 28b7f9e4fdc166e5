// A service moves there and back again and again under load. `npm run soak -- flips`: ten times with 1,000 writes in
// between, else four times with a tenth. The ledger of the load generator judges.
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ServiceName, type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { check, type Sql } from '../../fixtures/load/check.ts'
import { driftRows, SHOP_TABLES } from '../../fixtures/load/drift.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import type { RunningProcess } from '../../fixtures/servers/process.ts'
import { connect, succeed } from '../support/moving-shop.ts'
import { eventually } from '../support/two-sides.ts'

const WRITES = Number(process.env.MIGRATE_FLIP_WRITES ?? 100)
const FLIPS = WRITES > 100 ? 10 : 4
// its children have ids of the service's own, and its coupons are rows that everybody changes
const SERVICE: ServiceName = 'orders'

const stack = new AsyncDisposableStack()
let shop: Shop

beforeAll(async () => {
  shop = stack.use(await startShop({ size: 'small', services: [SERVICE] }))
  const monolith = await connect(shop.monolith.superuser)
  await dropCrossingForeignKeys(monolith, SERVICE)
  await monolith.end()
  await shop.startSync({}, SERVICE)
  await succeed(shop.cli(['route', 'set', SERVICE, '--percent', '25']))
})
afterAll(() => stack.disposeAsync())

test(`${FLIPS} flips of ${SERVICE} with ${WRITES} writes in between: both sides equal, nothing lost or doubled`, {
  timeout: 1_200_000,
}, async () => {
  const router = await shop.startRouter()
  await succeed(shop.cli(['dual-write', SERVICE]))
  const ledger = join(shop.folder, 'ledger.ndjson')
  const load = await shop.startLoad([
    ...['--target', router.url, '--ledger', ledger, '--clients', '8', '--seed', '5', '--users', '1-400'],
    ...['--writes', WRITES > 100 ? '250' : '150', '--reads', WRITES > 100 ? '100' : '50'],
  ])
  for (let flip = 0; flip < FLIPS; flip++) {
    const before = acknowledged(load)
    await eventually(
      async () => acknowledged(load),
      (now) => now - before >= WRITES,
      60_000,
    )
    await succeed(shop.cli([flip % 2 === 0 ? 'cutover' : 'rollback', SERVICE]))
  }
  expect(await load.stop('SIGTERM')).toMatchObject({ code: 0 })

  const [monolith, service] = await Promise.all([
    connect(shop.monolith.superuser),
    connect(shop.service(SERVICE).database.superuser),
  ])
  const drift = await eventually(
    () => driftRows(monolith, service, SHOP_TABLES[SERVICE]),
    ({ count }) => count === 0,
  )
  expect(drift.findings).toEqual([])
  for (const side of [monolith, service]) {
    const found = await check({ ledger, databases: databases(monolith, side) })
    expect(found).toMatchObject({ lost: 0, doubled: 0, failedRequests: 0, staleReads: 0, findings: [] })
    expect(found.acknowledged).toBeGreaterThanOrEqual(FLIPS * WRITES)
  }
  await Promise.all([monolith.end(), service.end()])
})

/** What was not moved has its truth in the monolith. */
function databases(monolith: Sql, side: Sql): Record<ServiceName, Sql> {
  const all: Record<ServiceName, Sql> = { users: monolith, orders: monolith }
  all[SERVICE] = side
  return all
}

/** As the load generator says once a second. */
function acknowledged(load: RunningProcess): number {
  const last = load.stdout.all().findLast((line) => line.startsWith('{'))
  if (last === undefined) return 0
  return (JSON.parse(last) as { writes: { acknowledged: number } }).writes.acknowledged
}
