import { pick, seededRandom } from '../../fixtures/load/random.ts'
import type { OrderFlow } from './order-flow.ts'

/** What customers have done, as they know it. */
export interface Customers {
  /** orders that were accepted, by id */
  readonly orders: ReadonlyMap<number, { readonly status: string }>
  /** answers other than 2xx, by status and path */
  readonly refused: ReadonlyMap<string, number>
}

export interface CustomerOptions {
  readonly orders: number
  readonly users: number
  readonly products: readonly number[]
  readonly coupons: readonly string[]
  readonly seed: number
  /** orders at a time */
  readonly atOnce: number
}

interface Shown {
  readonly id: number
  readonly status: string
}

/** Places orders, waits for each, and lets some of those that were placed be cancelled or completed. */
export async function shop(flow: OrderFlow, options: CustomerOptions): Promise<Customers> {
  const random = seededRandom(options.seed)
  const orders = new Map<number, { status: string }>()
  const refused = new Map<string, number>()
  const wanted = Array.from({ length: options.orders }, (_, n) => ({
    n,
    body: basket(options, random),
    choice: random(),
  }))
  const ask = asking(flow, refused)
  await Promise.all(
    Array.from({ length: options.atOnce }, async () => {
      for (let next = wanted.shift(); next !== undefined; next = wanted.shift()) {
        const placed = await ask('POST', '/checkout', next.body, `order ${options.seed} ${next.n}`)
        if (placed === null) continue
        const id = (placed as unknown as { orderId: number }).orderId
        let seen = await placedOf(ask, id)
        if (seen.status === 'PAID') seen = await goOn(ask, id, next.choice)
        orders.set(id, { status: seen.status })
      }
    }),
  )
  return { orders, refused }
}

function basket({ users, products, coupons }: CustomerOptions, random: () => number) {
  const items = Array.from({ length: 1 + Math.floor(random() * 3) }, () => ({
    productId: pick(products, random),
    quantity: 1 + Math.floor(random() * 4),
  }))
  return {
    ...{ userId: 1 + Math.floor(random() * users), reference: 'order-flow', items },
    ...(random() < 0.3 && { coupon: pick(coupons, random) }),
    cardToken: random() < 0.1 ? 'declined-1' : 'card-1',
  }
}

type Ask = (method: 'GET' | 'POST', path: string, body?: object, key?: string) => Promise<Shown | null>

/** One request until it is answered: services are killed meanwhile. Null: it was refused. */
function asking(flow: OrderFlow, refused: Map<string, number>): Ask {
  return async (method, path, body, key) => {
    for (;;) {
      try {
        const response = await fetch(`${flow.url('orders')}${path}`, {
          method,
          signal: AbortSignal.timeout(10_000),
          headers: { 'content-type': 'application/json', ...(key !== undefined && { 'idempotency-key': key }) },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
        const answer = (await response.json()) as Shown
        if (response.ok) return answer
        if (response.status < 500) {
          const what = `${response.status} ${path.replaceAll(/\d+/g, 'ID')}`
          refused.set(what, (refused.get(what) ?? 0) + 1)
          return null
        }
      } catch {
        // it is being started again
      }
      await moment(50)
    }
  }
}

async function placedOf(ask: Ask, id: number): Promise<Shown> {
  for (;;) {
    const seen = await ask('GET', `/orders/${id}`)
    if (seen === null) throw new Error(`order ${id} was accepted, and is not there`)
    if (seen.status !== 'PENDING') return seen
    await moment(100)
  }
}

/** One fifth is cancelled, a third is shipped and completed, the rest stays as it is. */
async function goOn(ask: Ask, id: number, choice: number): Promise<Shown> {
  if (choice < 0.2) await ask('POST', `/orders/${id}/cancel`, { reason: 'changed their mind' })
  else if (choice < 0.55) {
    await ask('POST', `/orders/${id}/ship`, { trackingNumber: `t${id}`, carrier: 'dhl' })
    await ask('POST', `/orders/${id}/complete`, {})
  }
  return (await ask('GET', `/orders/${id}`)) ?? { id, status: 'GONE' }
}

const moment = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
