// The orders service: children with ids of its own, coupons that everybody uses, and every kind of change in its tables.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { useGeneratedRoles } from '../../fixtures/demo/generated-roles.ts'
import { type Shop, startShop } from '../../fixtures/demo/shop.ts'
import { driftRows, SHOP_TABLES } from '../../fixtures/load/drift.ts'
import { dropCrossingForeignKeys } from '../../fixtures/monolith/database.ts'
import { connect, type Router, succeed } from '../support/moving-shop.ts'
import { eventually } from '../support/two-sides.ts'

const stack = new AsyncDisposableStack()
let shop: Shop
let router: Router
let monolith: pg.Client
let service: pg.Client

beforeAll(async () => {
  shop = stack.use(await startShop({ size: 'small', services: ['orders'] }))
  expect(await useGeneratedRoles(shop, ['orders'])).toBeGreaterThan(5)
  monolith = await connect(shop.monolith.superuser)
  service = await connect(shop.service('orders').database.superuser)
  stack.defer(() => Promise.all([monolith.end(), service.end()]).then(() => undefined))
  await shop.startSync({}, 'orders')
  router = await shop.startRouter()
})
afterAll(() => stack.disposeAsync())

describe('stage sync', () => {
  test.each([
    [
      'an order with everything',
      `with placed as (insert into orders (user_id, reference, total, shipping, label)
       values (1, 'all', 9.90, '{"city": "Łódź", "n": 1.0}', decode(repeat('00ff', 9000), 'hex')) returning id)
       insert into order_items (order_id, product_id, quantity, unit_price) select id, 1, 2, 4.95 from placed`,
    ],
    [
      'enum values, and updates that leave out a long label',
      `update orders set status = 'SHIPPED'
       where label is not null`,
    ],
    [
      'numbers of every size',
      `update orders set total = 1234567890.12 where id = 2; update orders set total = 0 where id = 3`,
    ],
    ['nulls', `update orders set shipping = null, label = null, saga_id = null where id % 3 = 0`],
    [
      'a new primary key, with the rows that point to it',
      `update orders set coupon_code = 'SAVE1' where id < 20;
       update coupons set code = 'RENAMED' where code = 'SAVE1'`,
    ],
    [
      'two keys that change places',
      `begin; update coupons set code = 'swap' where code = 'SAVE2';
       update coupons set code = 'SAVE2' where code = 'SAVE3'; update coupons set code = 'SAVE3' where code = 'swap'; commit`,
    ],
    [
      'deletes that cascade',
      `delete from payments; delete from inventory_transactions; delete from orders where id % 10 = 5`,
    ],
    ['TRUNCATE', `truncate order_items`],
  ])('%s: arrives', async (_, sql) => {
    await monolith.query(sql)
    await expectEqual()
  })
})

describe('stage dual-write', () => {
  beforeAll(async () => {
    await succeed(shop.cli(['route', 'set', 'orders', '--percent', '50']))
    await succeed(shop.cli(['dual-write', 'orders']))
  })

  test('the numbers that the service gives out are far from those of the monolith', async () => {
    const last = async (client: pg.Client): Promise<number> => {
      const { rows } = await client.query(
        `select max(last_value)::int as n from pg_sequences where sequencename ~ '^order'`,
      )
      return rows[0].n
    }
    expect(await last(service)).toBeGreaterThan((await last(monolith)) + 999_000)
  })

  test('items that the service numbers itself give way to those of the monolith, and are kept', async () => {
    const orders = await Promise.all(
      Array.from({ length: 12 }, (_, n) => order(`three-${n}`, { items: 3, user: n + 1 })),
    )
    expect(orders.map(({ status }) => status)).toEqual(orders.map(() => 201))
    await expectEqual()
    const { rows } = await service.query(
      `select count(*)::int % 3 as rest, min((row ->> 'id')::int) > 1000000 as own, array_agg(distinct relation) as relations
       from migrate.undo where reason = 'extra'`,
    )
    // on a busy machine a leg may be revoked before it has made its items
    expect(rows).toEqual([{ rest: 0, own: true, relations: ['public.order_items'] }])
    const kept = await service.query(`select count(*)::int as n from migrate.undo where reason = 'extra'`)
    await eventually(
      async () => (await status()).sync[0].legs.extra,
      (extra) => extra === kept.rows[0].n,
    )
    expect((await status()).legs).not.toContainEqual(expect.objectContaining({ verdict: 'different' }))
  })

  test("a reader never sees both the service's items and the monolith's", async () => {
    const { body } = await order('watched', { items: 3, user: 7 })
    const seen = new Set<number>()
    // past the router: it would keep this reader at the monolith for a while
    const done = eventually(
      async () => {
        const answer = await fetch(`${shop.service('orders').url}/orders/${body.id}`)
        if (answer.status === 200) seen.add(((await answer.json()) as { items: unknown[] }).items.length)
        return equal()
      },
      (same) => same,
    )
    await done
    expect([...seen]).toEqual([3])
  })

  test('a coupon that many use at once ends with the same number of uses', async () => {
    await Promise.all(Array.from({ length: 24 }, (_, n) => order(`many-${n}`, { user: n + 1, coupon: 'SAVE5' })))
    await expectEqual()
    const { rows } = await service.query(`select remaining from coupons where code = 'SAVE5'`)
    expect(rows).toEqual([{ remaining: 1_000_000 - 24 }])
  })

  test('the last use of a coupon is given once', async () => {
    await monolith.query(`update coupons set remaining = 1 where code = 'SAVE6'`)
    await expectEqual()
    const both = await Promise.all([1, 2].map((user) => order(`last-${user}`, { user, coupon: 'SAVE6' })))
    expect(new Set(both.map(({ status }) => status))).toEqual(new Set([201, 409]))
    await expectEqual()
  })
})

test('foreign keys that cross keep it from being cut over; then it is, and gives out numbers of its own', async () => {
  const refused = await shop.cli(['cutover', 'orders'])
  expect(refused.code).toBe(4)
  for (const key of ['orders_user_id_fkey', 'payments_order_id_fkey']) {
    expect(refused.stdout).toContain(`drop constraint ${key};`)
  }
  await dropCrossingForeignKeys(monolith, 'orders')
  await succeed(shop.cli(['cutover', 'orders']))
  const before = await monolith.query(`select max(id)::int as n from orders`)
  const { status, body } = await order('live', { items: 2, user: 3, coupon: 'SAVE7' })
  expect([status, body.id > before.rows[0].n]).toEqual([201, true])
  await expectEqual()
  await succeed(shop.cli(['rollback', 'orders']))
  expect((await order('back', { items: 3, user: 3 })).body.id).toBeGreaterThan(body.id)
  await expectEqual()
})

async function order(
  reference: string,
  { user, items = 1, coupon }: { user: number; items?: number; coupon?: string },
) {
  const answer = await fetch(`${router.url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-user-id': String(user) },
    body: JSON.stringify({
      ...{ userId: user, reference, coupon },
      items: Array.from({ length: items }, (_, n) => ({ productId: n + 1, quantity: 1 })),
    }),
  })
  return { status: answer.status, body: (await answer.json()) as { id: number } }
}

async function equal(): Promise<boolean> {
  return (await driftRows(monolith, service, SHOP_TABLES.orders)).count === 0
}

async function expectEqual(): Promise<void> {
  const drift = await eventually(
    () => driftRows(monolith, service, SHOP_TABLES.orders),
    ({ count }) => count === 0,
  )
  expect(drift).toEqual({ count: 0, findings: [] })
}

interface Status {
  readonly services: readonly [
    { readonly sync: readonly [{ readonly legs: { readonly extra: number } }]; readonly legs: readonly object[] },
  ]
}

async function status(): Promise<Status['services'][0]> {
  const { stdout } = await succeed(shop.cli(['status', 'orders']))
  return (JSON.parse(stdout) as { data: Status }).data.services[0]
}
