// The order flow of the fixtures as it runs: four services with databases of their own and Kafka between them, customers,
// every message twice, services killed at random. In the end all books balance.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pick, seededRandom } from '../../fixtures/load/random.ts'
import type { Exit } from '../../fixtures/servers/process.ts'
import { pause } from '../../src/model/pause.ts'
import { shop } from '../support/customers.ts'
import { until } from '../support/messaging.ts'
import { duplicate, type OrderFlow, type Service, SERVICES, startOrderFlow } from '../support/order-flow.ts'

const ORDERS = Number(process.env.MIGRATE_ORDERS ?? 100)
/** Kills: a few, or one each nine seconds for as long as it lasts. */
const KILLS = ORDERS < 1_000 ? 2 : Number.POSITIVE_INFINITY
const PRICES = new Map([
  [1, '19.99'],
  [2, '0.05'],
  [3, '249.00'],
  [4, '5.50'],
  [5, '30000.00'],
])
/** of each product: some orders find none */
const STOCK = Math.ceil(ORDERS * 0.75)
const COUPONS = { TEN: '10', THIRD: '33.33' }
const USERS = 20

let flow: OrderFlow | null
beforeAll(async () => {
  flow = await startOrderFlow(PRICES)
  if (flow === null) return
  const { orders, inventory, users } = flow.databases
  for (const [code, percent] of Object.entries(COUPONS)) {
    await orders.query(`insert into coupons values ($1, $2, $3, '2099-01-01')`, [code, percent, ORDERS])
  }
  await inventory.query(`insert into inventory (product_id, available) select n, $1 from generate_series(1, 5) as n`, [
    STOCK,
  ])
  await users.query(
    `insert into users (email, name) select n || '@example.com', 'U' || n from generate_series(1, $1) as n`,
    [USERS],
  )
}, 180_000)
afterAll(() => flow?.[Symbol.asyncDispose]())

const one = async <R>(service: Service, query: string): Promise<R> =>
  (await (flow as OrderFlow).databases[service].query(query)).rows[0] as R
const all = async <R>(service: Service, query: string): Promise<R[]> =>
  (await (flow as OrderFlow).databases[service].query(query)).rows as R[]

test('in the end all books balance', { timeout: 120_000 + ORDERS * 400 }, async (context) => {
  if (flow === null) return context.skip('there is no Kafka on this machine')
  const stop = new AbortController()
  let kills = 0
  const exits: unknown[] = []
  await using twice = await duplicate(flow.kafka)
  const killing = killAtRandom(flow, stop.signal, (exit) => {
    kills += 1
    exits.push(exit)
  })
  const products = [...PRICES.keys()]
  const coupons = Object.keys(COUPONS)
  const customers = await shop(flow, {
    orders: ORDERS,
    users: USERS,
    products,
    coupons,
    seed: 11,
    atOnce: ORDERS < 1_000 ? 25 : 200,
  })
  stop.abort()
  await killing
  await until('everything has arrived', settled, 60_000)
  await balance()
  expect(await statuses()).toEqual(counted([...customers.orders.values()].map(({ status }) => status)))
  expect(kills).toBeGreaterThan(0)
  exits.push(...(await Promise.all(SERVICES.map(flow.restart))))
  expect(exits).toEqual(exits.map(() => ({ code: 0, signal: null })))
  expect(twice.count()).toBeGreaterThan(ORDERS * 4)
  if (KILLS > 10)
    console.log({
      kills,
      copies: twice.count(),
      statuses: await statuses(),
      refused: Object.fromEntries(customers.refused),
    })
})

/** After each kill, a service is replaced as a deployment does it: with SIGTERM, while customers go on. */
async function killAtRandom(running: OrderFlow, signal: AbortSignal, killed: (exit: Exit) => void): Promise<void> {
  const random = seededRandom(5)
  for (let n = 0; n < KILLS; n++) {
    await pause(n === 0 ? 1_000 : 6_000 + random() * 6_000, signal).catch(() => undefined)
    if (signal.aborted) return
    await running.kill(n === 0 ? 'orders' : pick(SERVICES, random))
    killed(await running.restart(SERVICES[n % SERVICES.length] as Service))
  }
}

/** Nothing is under way any more: no saga, no message, and every consumer has handled what there is. */
async function settled(): Promise<boolean> {
  const open = await one<{ n: number }>('orders', `select count(*)::int as n from eventing.saga where ended_at is null`)
  const waiting = await Promise.all(
    SERVICES.map((service) =>
      one<{ n: number }>(
        service,
        `select (select count(*) from eventing.outbox)::int + (select count(*) from eventing.parked_record)::int as n`,
      ),
    ),
  )
  if (open.n + waiting.reduce((sum, { n }) => sum + n, 0) > 0) return false
  return (await behind()) === 0
}

/** Messages of `order.events` that not every consumer has handled. */
async function behind(): Promise<number> {
  const { kafka } = flow as OrderFlow
  const admin = kafka.admin()
  await admin.connect()
  const ends = await admin.fetchTopicOffsets('order.events')
  await admin.disconnect()
  const consumers = [
    ['orders', 'orders-metrics'],
    ['payments', 'payments-orders'],
    ['inventory', 'inventory-orders'],
    ['users', 'users-orders'],
  ] as const
  let missing = 0
  for (const [service, consumer] of consumers) {
    const rows = await all<{ partition: number; next: string }>(
      service,
      `select partition, next_offset::text as next from eventing.consumer_offset where consumer = '${consumer}'`,
    )
    for (const { partition, high } of ends) {
      missing += Number(high) - Number(rows.find((row) => row.partition === partition)?.next ?? 0)
    }
  }
  return missing
}

const statuses = async () =>
  Object.fromEntries(
    (
      await all<{ status: string; n: number }>(
        'orders',
        `select status::text, count(*)::int as n from orders group by 1`,
      )
    ).map(({ status, n }) => [status, n]),
  )

function counted(list: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const each of list) counts[each] = (counts[each] ?? 0) + 1
  return counts
}

async function balance(): Promise<void> {
  await stateOfOrders()
  await goods()
  await money()
  await followers()
}

/** Row, history and saga of each order say the same; each that failed has its event, once, and its coupon is back. */
async function stateOfOrders(): Promise<void> {
  expect(
    await all(
      'orders',
      `select o.id, o.status::text, s.status as saga, e.last, e.failures from orders o
       left join eventing.saga s on s.id = o.saga_id
       left join lateral (
         select (array_agg(event_type order by version desc))[1] as last,
           count(*) filter (where event_type = 'OrderCreationFailed') as failures
         from eventing.event_store where aggregate_id = 'order-' || o.id
       ) e on true
       left join order_failures f on f.order_id = o.id
       where not coalesce(case o.status::text
         when 'PAID' then e.last = 'PaymentConfirmed' and s.status = 'DONE' and f.reason is null
         when 'COMPLETED' then e.last = 'OrderCompleted' and s.status = 'DONE' and f.reason is null
         when 'CANCELLED' then e.last = 'OrderCancelled' and s.status = 'DONE' and f.reason is null
         when 'FAILED' then e.last = 'OrderCreationFailed' and e.failures = 1 and s.status = 'COMPENSATED' and f.reason <> ''
       end, false)`,
    ),
  ).toEqual([])
  expect(
    await all(
      'orders',
      `select code, remaining + (select count(*) from orders where coupon_code = code and status <> 'FAILED')::int as n from coupons order by code`,
    ),
  ).toEqual(Object.keys(COUPONS).map((code) => ({ code, n: ORDERS })))
  expect(await one('orders', `select count(*)::int as n from eventing.saga_lock`)).toEqual({ n: 0 })
}

/** What is there, and what has left the house, is what there was; every order has what its state says. */
async function goods(): Promise<void> {
  expect(
    await all(
      'inventory',
      `select i.product_id, available, reserved, coalesce(sum(r.quantity), 0) as gone, min(t.n) as moved
       from inventory i left join reservations r on r.product_id = i.product_id and r.state = 'CONFIRMED'
       left join (select product_id, sum(quantity_change) as n from inventory_transactions group by 1) t
         on t.product_id = i.product_id
       group by i.product_id, available, reserved
       having reserved <> 0 or available + coalesce(sum(r.quantity), 0) <> ${STOCK}
         or coalesce(min(t.n), 0) <> available - ${STOCK}`,
    ),
  ).toEqual([])
  const states = await all<{ id: string; state: string }>(
    'inventory',
    `select order_id::text as id, string_agg(distinct state, ' ') as state from reservations group by 1`,
  )
  const orders = new Map(
    (await all<{ id: string; status: string }>('orders', `select id::text, status::text from orders`)).map((row) => [
      row.id,
      row.status,
    ]),
  )
  const expected: Record<string, string> = {
    PAID: 'CONFIRMED',
    COMPLETED: 'CONFIRMED',
    CANCELLED: 'RETURNED',
    FAILED: 'RELEASED',
  }
  expect(states.filter(({ id, state }) => expected[orders.get(id) ?? ''] !== state)).toEqual([])
  const holding = [...orders].filter(([, status]) => status !== 'FAILED')
  expect(states.filter(({ state }) => state !== 'RELEASED')).toHaveLength(holding.length)
}

/** What was charged and not given back is what was ordered; the audit log knows of each change. */
async function money(): Promise<void> {
  const paid = await all(
    'payments',
    `select order_id::int as id, amount::text, status from payments where status = 'CHARGED' order by 1`,
  )
  const owed = await all(
    'orders',
    `select id::int, total::text as amount, 'CHARGED' as status from orders where status in ('PAID', 'COMPLETED') order by 1`,
  )
  expect(paid).toEqual(owed)
  expect(
    await one(
      'payments',
      `select count(*)::int - (select count(*) + count(*) filter (where status = 'REFUNDED') from payments)::int as n from payment_audit`,
    ),
  ).toEqual({ n: 0 })
}

/** Who hears of orders has heard of each of them, once. */
async function followers(): Promise<void> {
  const placed = `status in ('PAID', 'COMPLETED', 'CANCELLED')`
  const history = await all(
    'users',
    `select order_id::int as id, user_id::int as "user", total::text from order_history order by 1`,
  )
  expect(history).toEqual(
    await all('orders', `select id::int, user_id::int as "user", total::text from orders where ${placed} order by 1`),
  )
  const points = await all(
    'users',
    `select id::int, loyalty_points as points from users where loyalty_points > 0 order by 1`,
  )
  expect(points).toEqual(
    await all(
      'orders',
      `select user_id::int as id, sum(floor(total))::int as points from orders where status = 'COMPLETED'
       group by 1 having sum(floor(total)) > 0 order by 1`,
    ),
  )
  const cancelled = await one(
    'orders',
    `select coalesce(sum(orders), 0)::int as n, coalesce(sum(amount), 0)::text as total from cancellation_metrics`,
  )
  expect(cancelled).toEqual(
    await one(
      'orders',
      `select count(*)::int as n, coalesce(sum(total), 0)::text as total from orders where status = 'CANCELLED'`,
    ),
  )
}
