import type pg from 'pg'
import { startJsonServer } from '../../fixtures/servers/json-server.ts'
import { postgresAnswer } from '../../fixtures/servers/postgres-answer.ts'
import { ordersFlow } from '../../fixtures/services/orders/flow.ts'

/** The checkout of the orders service over HTTP, without its consumers, sagas and relay. */
export interface Checkout extends AsyncDisposable {
  /** with an `idempotency-key`, if any */
  post(path: string, body: object, key?: string): Promise<Posted>
}

interface Posted {
  readonly status: number
  readonly body: { readonly orderId: number; readonly sagaId: string }
}

/** Sells products at these prices. The pool, of a database of orders, stays the caller's. */
export async function startCheckout(pool: pg.Pool, prices: Readonly<Record<number, string>>): Promise<Checkout> {
  const sold = Object.entries(prices).map(([id, price]) => ({ id: Number(id), price }))
  const answer = { status: 200, body: { products: sold } }
  const catalogue = { method: 'GET', path: '/products', handle: async () => answer } as const
  const products = await startJsonServer({ ...serving('products'), routes: [catalogue] })
  const flow = ordersFlow(pool, products.url)
  await flow.install()
  const api = await startJsonServer({ ...serving('service'), routes: flow.routes })
  return {
    async post(path, body, key) {
      const response = await fetch(`${api.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key !== undefined && { 'idempotency-key': key }) },
        body: JSON.stringify(body),
      })
      return { status: response.status, body: (await response.json()) as Posted['body'] }
    },
    async [Symbol.asyncDispose]() {
      await api.drain()
      await products.drain()
    },
  }
}

function serving(side: string) {
  return { listen: '127.0.0.1:0', side, answerOf: postgresAnswer }
}
