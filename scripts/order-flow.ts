// The order flow of the example shop, to play with until ^C: docs/explanation/order-flow.md.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pause } from '../src/model/pause.ts'
import { type OrderFlow, type Service, SERVICES, startOrderFlow } from '../test/support/order-flow.ts'

const PRICES = new Map([
  [1, '19.99'],
  [2, '249.00'],
  // more than a card pays
  [3, '50000.01'],
])
/** A service whose process has ended comes back after so long, milliseconds. */
const AWAY = 10_000

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => stop.abort())
console.error('Starting PostgreSQL, Kafka and four services: half a minute.')
const flow = await startOrderFlow(PRICES)
if (flow === null) process.exit(1)
await fill(flow)
const config = await configure(flow)
for (const service of SERVICES) void comeBack(flow, service)
console.log(story(flow, config))
await pause(2 ** 31 - 1, stop.signal).catch(() => undefined)
console.error('Stopping.')
await flow[Symbol.asyncDispose]()
process.exit()

async function fill({ databases: { orders, inventory, users } }: OrderFlow): Promise<void> {
  await orders.query(`insert into coupons values ('TEN', 10, 100, '2099-01-01')`)
  await inventory.query(`insert into inventory (product_id, available) values (1, 1000), (2, 3), (3, 1000)`)
  await users.query(`insert into users (email, name) values ('ann@example.com', 'Ann')`)
}

/** A migrate.yaml for `migrate saga`, `events` and `dlq`. There is no monolith. */
async function configure({ server, logins }: OrderFlow): Promise<string> {
  const services = SERVICES.map(
    (service) => `  ${service}:
    http: http://127.0.0.1:1
    tables: [${service}]
    stores: [{ kind: postgres, url: "${logins[service].apply}" }]`,
  )
  const path = join(server.folder, 'migrate.yaml')
  const monolith = 'monolith: { database: "postgres://none@127.0.0.1:1/none", http: "http://127.0.0.1:1" }'
  await writeFile(path, `project: shop\n${monolith}\nservices:\n${services.join('\n')}\n`, { mode: 0o600 })
  return path
}

async function comeBack(running: OrderFlow, service: Service): Promise<void> {
  for (;;) {
    await running.ended(service)
    if (stop.signal.aborted) return
    console.error(`${service} has ended, and comes back in ${AWAY / 1_000} s`)
    await pause(AWAY, stop.signal).catch(() => undefined)
    if (stop.signal.aborted) return
    await running.restart(service)
    console.error(`${service} is back: process ${running.pid(service)}, ${running.url(service)}`)
  }
}

function story(running: OrderFlow, path: string): string {
  const order = (card: string, product: number) =>
    `curl -s ${running.url('orders')}/checkout -H 'content-type: application/json' -d '${JSON.stringify({
      ...{ userId: 1, reference: 'by hand', items: [{ productId: product, quantity: 1 }], cardToken: card },
    })}'`
  return `
${SERVICES.map((service) => `${service.padEnd(10)} ${running.url(service)}  kill -9 ${running.pid(service)}`).join('\n')}

an order             ${order('card-1', 1)}
its card refuses     ${order('declined', 1)}
more than a card     ${order('card-1', 3)}
how it went          curl -s ${running.url('orders')}/orders/1
its sagas            npm run -s migrate -- -c ${path} saga list orders

A service that has ended comes back after ${AWAY / 1_000} s. ^C stops everything.`
}
